"""What tests of several kinds share: clocks that stand still, events from a seed, a real server."""
