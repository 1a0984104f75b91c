"""What the operating system gives: the wall clock and randomness."""
