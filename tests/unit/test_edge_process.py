"""What a process of the server does when its event loop has no memory left."""

import subprocess
import sys

import pytest

from streamgauge.edge_process import EXIT_FAILED

# As it is told: by the loop to its handler, or, from uvloop's own callbacks, as an exception that nobody can catch.
PROGRAM = """
import asyncio, uvloop
from streamgauge.edge_process import end_without_memory

class Fails:
    def __del__(self):
        raise {error}()

async def main():
    loop = asyncio.get_running_loop()
    end_without_memory(loop)
    {tell}
    print("went on", flush=True)

uvloop.run(main())
"""
TOLD = {
    "to the loop": "loop.call_exception_handler({{'message': 'fatal', 'exception': {error}()}})",
    "to nobody": "Fails()",
}


def ended(error: str, tell: str) -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(error=error, tell=tell.format(error=error))
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("tell", TOLD.values(), ids=TOLD)
def test_without_memory_the_process_ends_at_once(tell: str) -> None:
    done = ended("MemoryError", tell)
    assert (done.returncode, done.stdout) == (EXIT_FAILED, "")


@pytest.mark.parametrize("tell", TOLD.values(), ids=TOLD)
def test_after_any_other_error_it_goes_on_and_says_what_it_was(tell: str) -> None:
    done = ended("ArithmeticError", tell)
    assert (done.returncode, done.stdout) == (0, "went on\n")
    assert "ArithmeticError" in done.stderr
