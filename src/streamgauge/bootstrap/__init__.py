"""The composition root: the only place that knows both ports and adapters."""

from collections.abc import Callable

# Told what no thread of ours can go on after: the process should end.
OnFatal = Callable[[BaseException], None]
