"""Every setting, in one frozen object that is read once. Nothing else reads the environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from streamgauge.domain.credential import SECRET_KEY_PREFIXES, livemode_of_secret
from streamgauge.domain.errors import StartRefused
from streamgauge.engine.retention import RETENTION_DAYS_MIN

ENVIRONMENT_PREFIX = "STREAMGAUGE_"
EDGE_PROCESSES_MAX = 64


class UnknownCustomers(StrEnum):
    """What becomes of an event whose customer is not known."""

    REJECT = "reject"
    ACCEPT = "accept"


class Secret:
    """A string that prints as stars."""

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret('********')"

    __str__ = __repr__


def setting(default: Any, help: str, *, minimum: int | None = None, maximum: int | None = None) -> Any:
    """One setting: its default, one sentence for people, and for numbers the range that is accepted."""
    return field(default=default, metadata={"help": help, "minimum": minimum, "maximum": maximum})


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The defaults run on a laptop. Each field is also `STREAMGAUGE_<NAME>` in the environment."""

    data_dir: Path = setting(Path("data"), "Folder that holds everything the server stores.")
    host: str = setting("127.0.0.1", "Address to listen on.")
    port: int = setting(8420, "Port to listen on; 0 takes a free one.", minimum=0, maximum=65_535)
    tls_cert: Path | None = setting(
        None, "Certificate chain (PEM) to serve HTTPS with, together with tls_key; without them HTTP is served."
    )
    tls_key: Path | None = setting(None, "Private key (PEM, not encrypted) of the certificate in tls_cert.")
    secret_key: Secret | None = setting(
        None,
        "Secret key (sk_test_... or sk_live_...) to give the first account; without it one is made and shown once.",
    )
    session_lifetime_seconds: int = setting(
        900, "How long a meter event session's token is valid.", minimum=1, maximum=86_400
    )
    unknown_customers: UnknownCustomers = setting(
        UnknownCustomers.REJECT, "What to do with an event whose customer does not exist: reject or accept."
    )
    dedup_window_hours: int = setting(
        840,
        "How long an identifier that counted is remembered; a repeat within it is a duplicate.",
        minimum=24,
        maximum=840,
    )
    retention_days: int | None = setting(
        None,
        "Events received longer ago are dropped, by whole days, with their receipts; totals stay. Without it all are "
        "kept.",
        minimum=RETENTION_DAYS_MIN,
        maximum=36_500,
    )
    edge_processes: int = setting(
        1,
        "Processes that take requests and append to the log; on few cores more than 1 gain nothing.",
        minimum=1,
        maximum=EDGE_PROCESSES_MAX,
    )
    backlog_events_max: int = setting(
        20_000_000, "Acknowledged events that may wait to be applied before new ones are refused with 503.", minimum=1
    )
    rate_limit_events_per_second: int | None = setting(
        None,
        "Events of the stream that each account and mode may send in a second; more are refused with 429.",
        minimum=1,
        maximum=1_000_000_000,
    )
    rate_limit_requests_per_second: int | None = setting(
        None,
        "Other requests that each account and mode may send in a second; more are refused with 429.",
        minimum=1,
        maximum=1_000_000_000,
    )
    pending_bytes_max: int = setting(
        64 * 2**20,
        "Bytes of requests that may wait for the event log before new ones are refused with 503.",
        minimum=2**20,
    )
    apply_events_max: int = setting(
        300_000, "Events applied to the usage store in one step.", minimum=100, maximum=1_000_000
    )
    apply_interval_ms: int = setting(
        400,
        "Shortest time between two steps of applying under load, half of it between small ones; an idle server applies "
        "at once.",
        minimum=0,
        maximum=10_000,
    )
    webhook_retry_seconds: int = setting(
        10,
        "When a delivery that failed is first tried again; later delays double, up to 6 hours, for 3 days.",
        minimum=1,
        maximum=21_600,
    )
    webhook_allow_private: bool = setting(
        False, "Whether deliveries may go to private, loopback and link-local addresses: true or false."
    )
    redrive_automatically: bool = setting(
        False,
        "Whether events that were rejected because a customer or meter was missing are redriven when it is created: "
        "true or false.",
    )
    shutdown_grace_seconds: int = setting(
        20, "How long SIGTERM waits for requests in flight and for the backlog to be applied.", minimum=0, maximum=3_600
    )


def load(environment: Mapping[str, str], overrides: Mapping[str, object] | None = None) -> Config:
    """Read the settings; `overrides` (command line options; None was not given) win over the environment.

    Raises StartRefused with every problem at once.
    """
    given: dict[str, object] = {}
    problems: list[str] = []
    for each in fields(Config):
        variable = ENVIRONMENT_PREFIX + each.name.upper()
        raw = (overrides or {}).get(each.name)
        if raw is None:  # the command line names every option, also those that were not given
            raw = environment.get(variable)
        if raw is None or raw == "":
            continue
        try:
            given[each.name] = _parse(each.name, raw, each.metadata)
        except ValueError as error:
            problems.append(f"{variable}: {error}")
    if ("tls_cert" in given) != ("tls_key" in given):
        missing, present = ("tls_key", "tls_cert") if "tls_cert" in given else ("tls_cert", "tls_key")
        problems.append(f"{ENVIRONMENT_PREFIX}{missing.upper()}: is needed too, as {present} is given")
    if problems:
        raise StartRefused("settings are wrong:\n" + "\n".join(f"  {problem}" for problem in problems))
    return Config(**given)  # type: ignore[arg-type]  # _parse gives each field its type


def _parse(name: str, raw: object, metadata: Mapping[str, Any]) -> object:
    text = str(raw)
    match name:
        case "data_dir" | "tls_cert" | "tls_key":
            return Path(text)
        case "host":
            return text
        case "secret_key":
            if livemode_of_secret(text) is None or not text.startswith(tuple(SECRET_KEY_PREFIXES)):
                raise ValueError("a secret key starts with sk_test_ or sk_live_ and has at least 12 characters")
            return Secret(text)
        case "webhook_allow_private" | "redrive_automatically":
            if text.lower() not in ("true", "false"):
                raise ValueError(f"{text!r} is neither 'true' nor 'false'")
            return text.lower() == "true"
        case "unknown_customers":
            if text not in list(UnknownCustomers):
                raise ValueError(f"{text!r} is neither 'reject' nor 'accept'")
            return UnknownCustomers(text)
        case _:
            return _whole_number(text, metadata["minimum"], metadata["maximum"])


def _whole_number(text: str, minimum: int | None, maximum: int | None) -> int:
    try:
        number = int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None
    if minimum is not None and number < minimum:
        raise ValueError(f"{number} is below {minimum}")
    if maximum is not None and number > maximum:
        raise ValueError(f"{number} is above {maximum}")
    return number
