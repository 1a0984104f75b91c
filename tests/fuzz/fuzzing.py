"""Runs a target under atheris, in a process of its own: libFuzzer ends the one that it runs in."""

import importlib.util
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.fuzz.targets import TARGETS

ROOT: Final = Path(__file__).parents[2]
CORPUS: Final = Path(__file__).parent / "corpus"
IS_THERE: Final = importlib.util.find_spec("atheris") is not None
WHY_SKIPPED: Final = "atheris is not installed: it has wheels for Linux on x86_64 and Python 3.11 to 3.13 alone"

INPUT_BYTES_MAX: Final = 8_192
_INPUT_SECONDS_MAX: Final = 10
_MEMORY_MB_MAX: Final = 2_048
_EXECUTIONS: Final = re.compile(r"stat::number_of_executed_units:\s*(\d+)")


@dataclass(frozen=True)
class Fuzzed:
    """How many inputs were tried; `fault` is what went wrong, with the input that did it, or empty."""

    executions: int
    fault: str


def fuzz(name: str, folder: Path, *, seconds: int, seed: int) -> Fuzzed:
    """Mutates the target's corpus for so long. What is found on the way stays in `folder`."""
    words, found = folder / "words", folder / "found"
    found.mkdir(parents=True, exist_ok=True)
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in TARGETS[name].words))
    options = [
        f"-dict={words}",
        f"-seed={seed}",
        f"-max_total_time={seconds}",
        f"-timeout={_INPUT_SECONDS_MAX}",
        f"-rss_limit_mb={_MEMORY_MB_MAX}",
        f"-max_len={INPUT_BYTES_MAX}",
        f"-artifact_prefix={folder}/",
        "-print_final_stats=1",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", name, *options, str(found), str(CORPUS / name)],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=seconds + 120,
        check=False,
    )
    told = done.stdout + done.stderr
    executions = _EXECUTIONS.search(told)
    inputs = [f"{path.name}: {path.read_bytes()!r}" for path in folder.iterdir() if path.name not in ("words", "found")]
    fault = "" if done.returncode == 0 and executions else f"seed {seed}\n{told[-4_000:]}\n" + "\n".join(inputs)
    return Fuzzed(int(executions[1]) if executions else 0, fault)


def _escaped(word: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word.encode("latin-1"))
