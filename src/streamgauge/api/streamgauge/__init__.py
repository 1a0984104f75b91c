"""What is ours alone: how far the account's events are applied, and what became of one event."""
