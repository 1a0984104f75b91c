"""What stands at a dotted path of a JSON file, as JSON again; a fraction digit by digit as it was written.

    python3 read_json.py FILE data.0.aggregated_value

Exits with status 1 when nothing stands there.
"""

import json
import sys
from pathlib import Path


class Written(str):
    """A number as it was written."""


def main(file: str, path: str) -> None:
    value = json.loads(Path(file).read_bytes(), parse_float=Written)
    for name in path.split("."):
        try:
            value = value[int(name)] if isinstance(value, list) else value[name]
        except (LookupError, TypeError):
            sys.exit(f"{path} is not in {Path(file).read_text()}")
    sys.stdout.write(value if isinstance(value, Written) else json.dumps(value))


main(*sys.argv[1:])
