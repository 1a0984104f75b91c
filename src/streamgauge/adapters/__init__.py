"""One folder per technology; each implements ports of the engine, and none knows another."""
