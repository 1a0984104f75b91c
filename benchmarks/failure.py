"""What ends a benchmark without a result."""


class BenchmarkFailed(Exception):
    """The server did not start, refused, lost a connection, was late, or counted wrongly: no figure is reported."""
