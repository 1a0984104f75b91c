"""Decoders on any bytes: only the documented errors, and accepted exactly when a plain reading of the rules accepts.

Goal:   no input of a client, and no damaged record, does anything else than what is documented.
Method: `corpus/` holds inputs by decoder: written by hand, or found by mutation and kept because they reached other
        code than those before, or once broke something. All are checked each time. Where atheris is installed they are
        then mutated for a moment; `make soak` mutates them for long.
"""

from pathlib import Path

import pytest

from tests.fuzz.fuzzing import CORPUS, IS_THERE, WHY_SKIPPED, fuzz
from tests.fuzz.targets import TARGETS

MOMENT_SECONDS = 2
SEED = 1


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", TARGETS)
def test_every_known_input_is_decoded_as_documented(name: str) -> None:
    inputs = sorted((CORPUS / name).iterdir())
    assert inputs
    for path in inputs:
        try:
            TARGETS[name].check(path.read_bytes())
        except BaseException as error:
            error.add_note(f"input: {path}")
            raise


@pytest.mark.skipif(not IS_THERE, reason=WHY_SKIPPED)
@pytest.mark.parametrize("name", TARGETS)
def test_mutated_inputs_are_decoded_as_documented(name: str, tmp_path: Path) -> None:
    fuzzed = fuzz(name, tmp_path, seconds=MOMENT_SECONDS, seed=SEED)
    assert not fuzzed.fault, fuzzed.fault
    assert fuzzed.executions > len(list((CORPUS / name).iterdir()))


def test_the_corpus_stays_small() -> None:
    sizes = [path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()]
    assert sum(sizes) <= 300_000
