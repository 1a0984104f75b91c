"""`python -m tests.fuzz.mutations SECONDS SEED`: the compiled part on changed bodies, against Python's decoder.

Without atheris, so that it also runs in a process with a sanitizer preloaded (docs/adr/0016 has the command).
"""

import json
import random
import sys
import time
import uuid
from typing import Final

from streamgauge import native
from tests.fuzz.fuzzing import CORPUS
from tests.fuzz.targets import stream_body

_PIECES: Final = (*b'{}[]:,"\\ \n0129aZnu\x00\x1f\x7f\x80\xbf\xc3\xed\xf0\xff',)


def seeds() -> list[bytes]:
    event = {
        "event_name": "calls",
        "identifier": str(uuid.UUID(int=2**100)),
        "timestamp": "2026-06-01T12:00:00.123Z",
        "payload": {"stripe_customer_id": "cus_1", "value": "1.5"},
    }
    bodies = [
        {"events": [event]},
        {"events": [event, {**event, "identifier": None, "timestamp": 1_780_315_200}]},
        {"events": [{**event, "identifier": uuid.UUID(int=1).hex, "timestamp": "2026-06-01T12:00:00+02:00"}] * 3},
        {"events": [event] * 100},
        {"events": [{**event, "payload": {str(each): "é🪣" * 20 for each in range(64)}}] * 2},
    ]
    written = [json.dumps(each, ensure_ascii=False).encode() for each in bodies]
    return written + [path.read_bytes() for path in sorted((CORPUS / "stream_body").iterdir())]


def mutated(body: bytes, chance: random.Random) -> bytes:
    data = bytearray(body)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0:
                data[at : at + 1] = bytes([chance.choice(_PIECES)])
            case 1:
                data[at:at] = bytes([chance.choice(_PIECES)])
            case 2:
                del data[at : at + chance.randrange(1, 9)]
            case 3:  # a part of it once more
                begin = chance.randrange(len(data) + 1)
                data[at:at] = data[begin : begin + chance.randrange(1, 200)]
            case 4:
                del data[at:]
    return bytes(data)


def main(seconds: float, seed: int) -> None:
    assert native.compiled is not None, "the compiled part is not built here"
    chance = random.Random(seed)
    bodies, tried, read = seeds(), 0, 0
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        body = mutated(chance.choice(bodies), chance)
        try:
            found = native.compiled.parse(body) is not None
            if found or chance.random() < 0.02:
                stream_body(body)
        except BaseException as error:
            error.add_note(f"seed {seed}, input {body!r}")
            raise
        tried, read = tried + 1, read + found
    sys.stdout.write(f"seed {seed}: {tried} bodies, {read} of them read\n")


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
