"""What a meter, a meter event, a rollup is: pure values and functions. No I/O, no clock, no randomness."""
