"""What the engine needs from the world. Each port's docstring is the contract that its adapters are tested against."""
