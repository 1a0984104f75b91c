"""Which official clients there are, what each needs of a machine, and what became of the scenario with each."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

STEPS = (
    "meter_life",
    "customer",
    "session",
    "stream",
    "totals",
    "duplicates",
    "synchronous",
    "idempotency",
    "cancel",
    "expired",
    "refused",
)
OUTCOMES = ("passed", "failed", "not offered")


@dataclass(frozen=True, kw_only=True)
class OfficialClient:
    """One folder beside this file.

    `programs` are on the PATH and `folder_variables` are environment variables that name folders wherever this client
    can be played; `not_offered` are the steps that it has no call for, each with the reason that it has to give.
    """

    folder: str
    programs: tuple[str, ...] = ()
    folder_variables: tuple[str, ...] = ()
    not_offered: Mapping[str, str] = field(default_factory=dict)

    def has_all_it_needs(self) -> bool:
        return all(shutil.which(program) for program in self.programs) and all(
            Path(os.environ.get(variable) or "/nonexistent").is_dir() for variable in self.folder_variables
        )


NO_STREAM_IN_THE_CLI = (
    "/v2/billing/meter_event_stream is not supported by Stripe CLI yet; "
    "nor is a session's token a key that its other commands take"
)

CLIENTS = (
    OfficialClient(
        folder="cli",
        programs=("go",),
        not_offered=dict.fromkeys(("stream", "expired", "refused"), NO_STREAM_IN_THE_CLI),
    ),
    OfficialClient(folder="curl", programs=("curl", "python3")),
    OfficialClient(folder="dotnet", programs=("dotnet",), folder_variables=("STRIPE_DOTNET_DIR",)),
    OfficialClient(folder="go", programs=("go",)),
    OfficialClient(folder="java", programs=("java", "javac", "mvn")),
    OfficialClient(folder="node", programs=("node", "npm")),
    OfficialClient(folder="node_previous", programs=("node", "npm")),
    OfficialClient(folder="php", programs=("php",), folder_variables=("STRIPE_PHP_DIR",)),
    OfficialClient(folder="python"),
    OfficialClient(folder="ruby", programs=("ruby",), folder_variables=("STRIPE_RUBY_DIR",)),
)


@dataclass(frozen=True, kw_only=True)
class Played:
    """What a client's program printed. `outcomes` and `details` have the steps in the order in which they came."""

    client: str
    version: str
    outcomes: Mapping[str, str]
    details: Mapping[str, str]

    def with_outcome(self, outcome: str) -> dict[str, str]:
        """The steps that ended so, each with its detail."""
        return {step: self.details[step] for step, each in self.outcomes.items() if each == outcome}


def played(printed: str) -> Played:
    """Reads the lines that a client's program printed. Raises ValueError when they are not what the README says."""
    lines: list[Any] = [json.loads(line) for line in printed.splitlines()]
    if not all(isinstance(line, dict) for line in lines):
        raise ValueError(f"a line that is no JSON object: {printed[:200]!r}")
    if not lines or set(lines[0]) != {"client", "version"}:
        raise ValueError(f"the first line does not name the client and its version: {printed[:200]!r}")
    steps = lines[1:]
    names = [line.get("step") for line in steps]
    if len(set(names)) != len(names) or any(line.get("outcome") not in OUTCOMES for line in steps):
        raise ValueError(f"a step twice, or with an outcome that is none of {OUTCOMES}: {steps}")
    return Played(
        client=lines[0]["client"],
        version=lines[0]["version"],
        outcomes={line["step"]: line["outcome"] for line in steps},
        details={line["step"]: line.get("detail", "") for line in steps},
    )


OFFICIAL_CLIENT: Final = "official client"  # the property of a test that holds the line of its client


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the matrix. `played` is None when the client could not be played, and `note` says why."""

    folder: str
    played: Played | None = None
    note: str = ""

    def shown(self) -> str:
        if self.played is None:
            return f"{self.folder:<14} not verified: {self.note}"
        passed = len(self.played.with_outcome("passed"))
        named = f"{self.played.client} {self.played.version}"
        more = "".join(
            f"; {outcome}: {', '.join(steps)}"
            for outcome in ("failed", "not offered")
            if (steps := self.played.with_outcome(outcome))
        )
        return f"{self.folder:<14} {named:<26} {passed} of {len(STEPS)} steps{more}"

    def as_json(self) -> dict[str, object]:
        if self.played is None:
            return {"folder": self.folder, "client": None, "version": None, "steps": None, "note": self.note}
        steps = {
            step: {"outcome": outcome} | ({"detail": self.played.details[step]} if self.played.details[step] else {})
            for step, outcome in self.played.outcomes.items()
        }
        return {
            "folder": self.folder,
            "client": self.played.client,
            "version": self.played.version,
            "passed": len(self.played.with_outcome("passed")),
            "of": len(STEPS),
            "steps": steps,
        }
