"""`python -m tests.fuzz TARGET [libFuzzer's options and folders]`: one decoder under coverage-guided mutation.

Only our own code is instrumented; what pyarrow and msgspec do inside is mutated blindly, with the words of the target.
"""

import sys

import atheris

with atheris.instrument_imports(include=["streamgauge"]):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    name, *options = sys.argv[1:]
    atheris.Setup([name, *options], TARGETS[name].check)
    atheris.Fuzz()
