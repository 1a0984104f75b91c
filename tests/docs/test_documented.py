"""What the code has stands on its page, and what a page names is there.

Settings, metrics, codes, commands and routes are collected from the code itself, so a new one fails here until its page
has it.
"""

import ast
import dataclasses
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast, get_args
from urllib.parse import urlsplit

import click
import pytest
from prometheus_client.core import CounterMetricFamily
from starlette.applications import Starlette
from starlette.routing import Route

from streamgauge.api import metrics
from streamgauge.api.app import control_app
from streamgauge.api.errors import DOCS_URL, ErrorStyle, render, render_unrouted
from streamgauge.api.v1.customers import CustomerParameters
from streamgauge.api.v2.meter_event_stream import PATH as STREAM_PATH
from streamgauge.api.v2.meter_events import CODES, DUPLICATE_CODE
from streamgauge.cli import cli
from streamgauge.config import ENVIRONMENT_PREFIX, Config
from streamgauge.domain.errors import StreamgaugeError
from streamgauge.domain.fate import RejectionCode
from streamgauge.engine.ports.poster import PostFailure
from tests.docs.pages import PACKAGE, ROOT, Page, all_pages, page

OPERATING = page("docs/operating.md")
ERRORS = page("docs/errors.md")
COMPATIBILITY = page("docs/compatibility.md")
ARCHITECTURE = page("docs/ARCHITECTURE.md")
CONTRACT = ROOT / "tests" / "data" / "stripe-metering.openapi.json"


# Settings


@pytest.mark.parametrize("field", dataclasses.fields(Config), ids=lambda field: str(field.name))
def test_every_setting_is_documented_with_name_variable_default_and_range(field: "dataclasses.Field[Any]") -> None:
    (row,) = (row for row in OPERATING.rows() if row[0] == f"`{field.name}`")
    _, variable, option, default, accepted, _ = row
    assert variable == f"`{ENVIRONMENT_PREFIX}{field.name.upper()}`"
    assert option == f"`--{field.name.replace('_', '-')}`" or field.name == "secret_key"
    assert default == ("none" if field.default is None else f"`{field.default}`")
    for bound in (field.metadata["minimum"], field.metadata["maximum"]):
        assert bound is None or f"{bound:,}" in accepted


def test_no_setting_is_documented_that_does_not_exist() -> None:
    documented = set(
        re.findall(rf"{ENVIRONMENT_PREFIX}[A-Z][A-Z_]*[A-Z]", "\n".join(each.text for each in all_pages()))
    )
    known = {ENVIRONMENT_PREFIX + field.name.upper() for field in dataclasses.fields(Config)}
    # Of tests and of the build, not of the server.
    of_tests = {
        "TEST_SEED",
        "SOAK_SECONDS",
        "SOAK_KILLS",
        "SOAK_CUTS",
        "SOAK_EXECUTIONS",
        "URL",
        "KEY",
        "EXPIRED_TOKEN",
        "RUN",
        "NATIVE",
    }
    assert documented - known <= {ENVIRONMENT_PREFIX + name for name in of_tests}


# Metrics


def test_every_metric_is_documented_with_its_kind_under_the_name_that_is_scraped() -> None:
    assert {each.name for each in metrics.DEFINITIONS} == set(get_args(metrics.MetricName))
    rows = {row[0]: row[1] for row in OPERATING.rows()}
    for each in metrics.DEFINITIONS:
        if each.kind is CounterMetricFamily:
            assert rows[f"`{each.name}_total` (`{each.name}`)"].startswith("counter")
        else:
            assert rows[f"`{each.name}`"].startswith("gauge")


# Logs


def test_every_message_of_the_log_is_documented() -> None:
    beginnings = tuple(re.findall(r"`([^`]+)`", OPERATING.section("Logs")))
    for path in PACKAGE.rglob("*.py"):
        for message in re.findall(
            r"logger\.(?:info|warning|error|critical|exception)\(\s*\"([^\"]+)\"", path.read_text()
        ):
            assert message.startswith(beginnings), f"{path.name}: {message}"


# Codes


def _classes(base: type[StreamgaugeError]) -> Iterator[type[StreamgaugeError]]:
    yield base
    for each in base.__subclasses__():
        yield from _classes(each)


def _answers() -> Iterator[tuple[int, dict[str, Any]]]:
    """(status, error) of every answer to a failure that there is, but for reasons that replace a code."""
    for style in ErrorStyle:
        for each in _classes(StreamgaugeError):
            if "code" not in vars(each):  # a base that is never raised itself
                continue
            status, _, body = render(each("x"), style)
            yield status, json.loads(body)["error"]
        for status in (404, 405):
            _, _, body = render_unrouted(status, "PUT", "/x", style, allow="GET")
            yield status, json.loads(body)["error"]


@cache
def _reasons() -> frozenset[str]:
    """Every constant that is passed as `reason=`: it replaces a code."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "reason" and isinstance(node.value, ast.Constant):
                found.add(str(node.value.value))
    # Single events have codes that are passed as variables.
    single = {CODES.get(code, code) for code in RejectionCode}
    return frozenset(found | single | {DUPLICATE_CODE})


def test_every_error_code_has_a_heading_with_its_status() -> None:
    codes = {error["code"]: status for status, error in _answers() if "code" in error}
    assert set(_reasons()) >= {"parameter_unknown", "parameter_missing"}
    for code, status in {**dict.fromkeys(_reasons(), 400), **codes}.items():
        section = ERRORS.section(f"`{code}`")
        assert code == "start_refused" or str(status) in section, code


def test_every_error_class_has_its_code_on_the_page() -> None:
    assert {each.code for each in _classes(StreamgaugeError)} <= {heading.strip("`") for heading in ERRORS.headings}


def test_no_error_code_is_documented_that_is_never_answered() -> None:
    documented = {heading.strip("`") for heading in ERRORS.headings if heading.startswith("`")}
    answered = {error["code"] for _, error in _answers() if "code" in error}
    assert documented == answered | _reasons() | {each.code for each in _classes(StreamgaugeError)}


def test_every_error_type_is_documented() -> None:
    for _, error in _answers():
        assert f"`{error['type']}`" in ERRORS.text if "type" in error else True


def test_the_link_in_an_error_leads_to_its_heading() -> None:
    linked = {error["doc_url"] for _, error in _answers() if "doc_url" in error}
    assert linked
    for url in linked:
        assert url.startswith(DOCS_URL)
        assert urlsplit(url).path.endswith(str(ERRORS))
        assert urlsplit(url).fragment in ERRORS.anchors


def test_every_rejection_code_is_documented_in_order_of_precedence() -> None:
    codes = [f"`{code}`" for code in RejectionCode]
    assert [row[0] for row in ERRORS.rows() if row[0].startswith("`")] == codes


def test_every_error_of_a_delivery_is_documented() -> None:
    section = OPERATING.section("Deliveries do not arrive")
    assert [each for each in (*PostFailure, "internal_error") if f"| `{each}` |" not in section] == []


# Command line


def _commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for each in command.commands.values():
            if not each.hidden:
                yield from _commands(each, f"{name} {each.name}")


@pytest.mark.parametrize(("name", "command"), list(_commands(cli, "streamgauge")), ids=lambda each: str(each))
def test_every_command_is_documented_with_its_options(name: str, command: click.Command) -> None:
    if isinstance(command, click.Group) and name != "streamgauge":
        return  # its commands are documented
    section = OPERATING.section(f"`{name}`")
    if name == "streamgauge serve":
        section += OPERATING.section("Settings")
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert any(f"`{option}`" in section for option in parameter.opts), parameter.opts


# Routes


def _served() -> set[str]:
    """`METHOD path` of everything that the server has."""
    app = control_app(cast(Any, None), cast(Any, None))  # building it calls no service
    assert isinstance(app, Starlette)
    served = {f"POST {STREAM_PATH}"}
    for route in app.routes:
        assert isinstance(route, Route)
        path = re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path)
        served |= {f"{method} {path}" for method in route.methods or () if method != "HEAD"}
    return served


def _documented_calls() -> dict[str, str]:
    """`METHOD path` to the second cell of its row."""
    return {
        call: row[1] for row in COMPATIBILITY.rows() for call in re.findall(r"`((?:GET|POST|DELETE) /[^`]*)`", row[0])
    }


def test_every_route_is_documented() -> None:
    assert _served() <= set(_documented_calls())


def test_every_call_of_the_contract_is_said_to_be_supported_or_not_and_that_is_so() -> None:
    contract = {
        f"{method.upper()} {path}"
        for path, item in json.loads(CONTRACT.read_text(encoding="utf-8"))["paths"].items()
        for method in item
        if method in ("get", "post", "delete")
    }
    said = _documented_calls()
    assert contract <= set(said)
    for call in contract:
        assert said[call].startswith("supported" if call in _served() else "not yet"), call


def test_no_route_is_documented_that_is_neither_served_nor_called_not_yet() -> None:
    for call, state in _documented_calls().items():
        assert call in _served() or state == "not yet", call


# The map


def test_every_folder_of_the_package_is_on_the_map() -> None:
    for path in PACKAGE.rglob("*.py"):
        folder = path.parent.relative_to(PACKAGE)
        if folder.parts and folder.name != "versions":
            assert f"`{folder}/`" in ARCHITECTURE.text or f"`{folder.name}/`" in ARCHITECTURE.text, folder


def test_every_module_of_the_package_itself_of_domain_and_of_engine_is_on_the_map() -> None:
    for folder in (PACKAGE, PACKAGE / "domain", PACKAGE / "engine", PACKAGE / "engine" / "ports"):
        for path in folder.glob("*.py"):
            assert path.name == "__init__.py" or f"`{path.name}`" in ARCHITECTURE.section("Code map"), path


def test_every_decision_is_in_the_list_of_decisions() -> None:
    index = page("docs/adr/README.md")
    for path in (ROOT / "docs" / "adr").glob("[0-9]*.md"):
        assert path.name in index.links
        assert {"Context", "Options", "Outcome", "Consequences"} <= set(Page(path).headings)


# Links and names


@pytest.mark.parametrize("each", all_pages(), ids=str)
def test_every_relative_link_leads_somewhere(each: Page) -> None:
    for link in each.links:
        target, _, anchor = link.partition("#")
        if urlsplit(link).scheme:
            continue
        path = (each.path.parent / target).resolve() if target else each.path
        assert path.exists(), link
        assert path.is_relative_to(ROOT), link
        if anchor:
            assert anchor in Page(path).anchors, link


@cache
def _tests() -> frozenset[str]:
    """The name of every test function and test module."""
    names = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        names |= {
            path.stem,
            *re.findall(r"^\s*(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE),
        }
    return frozenset(names)


@pytest.mark.parametrize("each", all_pages(), ids=str)
def test_every_test_that_a_page_names_exists(each: Page) -> None:
    named = {name.rstrip("_") for name in re.findall(r"\btest_[a-z0-9_]+", each.prose)}
    assert named - CustomerParameters.UNSUPPORTED <= _tests()  # one of those parameters is called like a test


def test_thirty_faults_are_survived_and_each_has_its_test() -> None:
    page = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
    table = page.split("## Faults survived")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| ")][2:]
    named = [re.findall(r"`(test_\w+)`", row[-1]) for row in rows]
    assert len({row[0] for row in rows}) == len(rows) >= 30
    assert all(len(names) == 1 and names[0] in _tests() for names in named)
    assert f"{len(rows)} faults of the world" in table


@pytest.mark.parametrize("each", all_pages(), ids=str)
def test_every_file_that_a_page_names_exists(each: Page) -> None:
    for name in each.code_spans:
        if re.fullmatch(r"[\w./-]+\.py|(src|tests|docs|benchmarks)/[\w./-]*", name):
            assert _is_there(name, each.path.parent), name


def _is_there(name: str, folder: Path) -> bool:
    if any((base / name).exists() for base in (ROOT, PACKAGE, folder)):
        return True
    # The map names a file after its folder: `engine/` | `apply.py`.
    return "/" not in name and any(PACKAGE.rglob(name))


@pytest.mark.parametrize("each", all_pages(), ids=str)
def test_no_figure_is_left_to_be_filled_in(each: Page) -> None:
    assert "FIGURE-TODO" not in each.text
