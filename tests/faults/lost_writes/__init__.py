"""Power cuts: a shim that writes down what a program writes, and a disk that forgets what was not synced."""
