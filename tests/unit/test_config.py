"""Settings: read once, all problems told together, secrets never shown."""

from dataclasses import fields
from pathlib import Path

import pytest

from streamgauge.config import ENVIRONMENT_PREFIX, Config, Secret, UnknownCustomers, load
from streamgauge.domain.errors import StartRefused

SECRET = "sk_test_0123456789abcdef"


def test_without_anything_given_the_defaults_hold() -> None:
    config = load({})
    assert config == Config()
    assert (config.host, config.port, config.data_dir) == ("127.0.0.1", 8420, Path("data"))
    assert (config.session_lifetime_seconds, config.dedup_window_hours) == (900, 35 * 24)
    assert (config.unknown_customers, config.secret_key) == (UnknownCustomers.REJECT, None)


@pytest.mark.parametrize(
    ("name", "raw", "expected"),
    [
        ("data_dir", "/somewhere/else", Path("/somewhere/else")),
        ("host", "::1", "::1"),
        ("port", "0", 0),
        ("port", "65535", 65_535),
        ("session_lifetime_seconds", "1", 1),
        ("unknown_customers", "accept", UnknownCustomers.ACCEPT),
        ("dedup_window_hours", "24", 24),
        ("backlog_events_max", "1", 1),
        ("rate_limit_events_per_second", "250000", 250_000),
        ("rate_limit_requests_per_second", "1", 1),
        ("pending_bytes_max", "1048576", 2**20),
        ("apply_events_max", "100", 100),
        ("apply_interval_ms", "0", 0),
        ("shutdown_grace_seconds", "0", 0),
    ],
)
def test_each_setting_is_read_from_the_environment_and_an_option_wins(name: str, raw: str, expected: object) -> None:
    variable = ENVIRONMENT_PREFIX + name.upper()
    assert getattr(load({variable: raw}), name) == expected
    assert getattr(load({variable: "nonsense"}, {name: raw}), name) == expected
    assert getattr(load({variable: raw}, {name: None}), name) == expected


def test_an_empty_variable_is_as_good_as_none() -> None:
    assert load({ENVIRONMENT_PREFIX + each.name.upper(): "" for each in fields(Config)}) == Config()


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("port", "-1", "-1 is below 0"),
        ("port", "65536", "65536 is above 65535"),
        ("port", "http", "'http' is not a whole number"),
        ("port", "8420.5", "'8420.5' is not a whole number"),
        ("session_lifetime_seconds", "0", "0 is below 1"),
        ("session_lifetime_seconds", "86401", "86401 is above 86400"),
        ("unknown_customers", "maybe", "'maybe' is neither 'reject' nor 'accept'"),
        ("webhook_allow_private", "maybe", "'maybe' is neither 'true' nor 'false'"),
        ("webhook_retry_seconds", "0", "0 is below 1"),
        ("dedup_window_hours", "23", "23 is below 24"),
        ("dedup_window_hours", "841", "841 is above 840"),
        ("rate_limit_events_per_second", "0", "0 is below 1"),
        ("rate_limit_requests_per_second", "0", "0 is below 1"),
        ("apply_events_max", "99", "99 is below 100"),
        ("secret_key", "pk_test_0123456789", "starts with sk_test_ or sk_live_"),
        ("secret_key", "sk_test_1", "at least 12 characters"),
    ],
)
def test_a_wrong_setting_is_named_with_what_would_be_right(name: str, raw: str, message: str) -> None:
    with pytest.raises(StartRefused) as refusal:
        load({ENVIRONMENT_PREFIX + name.upper(): raw})
    assert f"{ENVIRONMENT_PREFIX}{name.upper()}: " in refusal.value.message
    assert message in refusal.value.message


def test_all_problems_are_told_together() -> None:
    wrong = {"PORT": "x", "DEDUP_WINDOW_HOURS": "1", "UNKNOWN_CUSTOMERS": "?", "SECRET_KEY": "short"}
    with pytest.raises(StartRefused) as refusal:
        load({ENVIRONMENT_PREFIX + name: raw for name, raw in wrong.items()})
    assert all(ENVIRONMENT_PREFIX + name in refusal.value.message for name in wrong)


@pytest.mark.parametrize(("given", "missing"), [("TLS_CERT", "TLS_KEY"), ("TLS_KEY", "TLS_CERT")])
def test_certificate_and_key_are_given_together_or_not_at_all(given: str, missing: str) -> None:
    both = {"STREAMGAUGE_TLS_CERT": "/a/cert.pem", "STREAMGAUGE_TLS_KEY": "/a/key.pem"}
    config = load(both)
    assert (config.tls_cert, config.tls_key) == (Path("/a/cert.pem"), Path("/a/key.pem"))
    with pytest.raises(StartRefused) as refusal:
        load({f"STREAMGAUGE_{given}": "/a/file.pem"})
    assert f"STREAMGAUGE_{missing}: is needed too, as {given.lower()} is given" in refusal.value.message


@pytest.mark.parametrize(("raw", "allowed"), [("true", True), ("True", True), ("false", False), ("False", False)])
def test_private_addresses_are_allowed_or_not(raw: str, allowed: bool) -> None:
    assert load({"STREAMGAUGE_WEBHOOK_ALLOW_PRIVATE": raw}).webhook_allow_private is allowed


def test_a_refused_secret_is_not_repeated() -> None:
    with pytest.raises(StartRefused) as refusal:
        load({"STREAMGAUGE_SECRET_KEY": "rk_test_verysecret"})
    assert "verysecret" not in refusal.value.message


def test_secrets_print_as_stars() -> None:
    config = load({"STREAMGAUGE_SECRET_KEY": SECRET})
    assert config.secret_key is not None
    assert config.secret_key.reveal() == SECRET
    for shown in (repr(config), str(config), f"{config.secret_key}", f"{config.secret_key!r}", str([Secret(SECRET)])):
        assert SECRET not in shown
        assert "0123456789" not in shown
        assert "****" in shown


def test_other_programs_variables_are_left_alone() -> None:
    assert load({"PORT": "x", "STREAMGAUGEPORT": "x", "STREAMGAUGE_NOTHING": "x"}) == Config()


def test_every_setting_says_what_it_is_for() -> None:
    for each in fields(Config):
        assert each.metadata["help"].endswith("."), each.name
