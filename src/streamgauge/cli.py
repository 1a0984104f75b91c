"""The command line."""

import gc
import logging
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.progress import DownloadColumn
from rich.table import Column, Table

from streamgauge import __version__
from streamgauge.config import ENVIRONMENT_PREFIX, Config, load
from streamgauge.domain.account import Tenant
from streamgauge.domain.errors import Corrupt, NotFound, StartRefused, StreamgaugeError
from streamgauge.domain.permission import Access, Permission, Permissions, Resource
from streamgauge.progress_bar import Bar
from streamgauge.running_server import running_server

EXIT_DIFFERENT = 1
EXIT_REFUSED = 2

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def settings(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Options for these settings (all of them when none is named), with their own help texts and defaults."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for name, each in reversed(Config.__dataclass_fields__.items()):
            if (names and name not in names) or name == "secret_key":  # a secret on a command line shows in `ps`
                continue
            command = click.option(
                "--" + name.replace("_", "-"),
                name,
                metavar="VALUE",
                help=f"{each.metadata['help']}  [default: {each.default}; env: {ENVIRONMENT_PREFIX}{name.upper()}]",
            )(command)
        return command

    return decorate


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="streamgauge")
def cli() -> None:
    """An open, self-hosted meter event stream that speaks Stripe's public billing-meter API.

    Start with `streamgauge demo`: it starts a server, streams real usage through it with the official Python client,
    and compares the totals. `streamgauge serve` is the server alone.
    """


@cli.command()
@settings()
def serve(**given: str | None) -> None:
    """Run the server until Ctrl-C or SIGTERM; then it finishes what is in flight and exits 0.

    The first start on a folder makes a secret key and shows it once, unless STREAMGAUGE_SECRET_KEY names one.
    """
    config = load(os.environ, given)
    gc.disable()  # until it serves: modules are no garbage, and to look through them takes a sixth of the start
    # Imported here: it loads the store's engine, which takes longer than every other command.
    from streamgauge.supervisor import Supervisor

    sys.exit(Supervisor(config, on_ready=_say_ready, on_key=_say_key, on_filter=Bar("reading identifiers")).run())


@cli.command(hidden=True)
@click.option("--listen-fd", type=int, required=True)
@click.option("--lifeline-fd", type=int, required=True)
@click.option("--ready-fd", type=int, required=True)
def edge(listen_fd: int, lifeline_fd: int, ready_fd: int) -> None:
    """The process with the public socket. `serve` starts it."""
    gc.disable()  # as above
    from streamgauge.edge_process import run_edge

    sys.exit(run_edge(load(os.environ), listen_fd=listen_fd, lifeline_fd=lifeline_fd, ready_fd=ready_fd))


@cli.group()
def keys() -> None:
    """Create, list and revoke secret and restricted keys, whether or not the server runs."""


@keys.command("create")
@click.option("--live", is_flag=True, help="A key for live mode instead of test mode.")
@click.option(
    "--allow",
    "allowed",
    multiple=True,
    metavar="RESOURCE=ACCESS",
    help="Make a restricted key (rk_...) that may do this and nothing else; may be given several times.  "
    f"[RESOURCE: {', '.join(Resource)}; ACCESS: {', '.join(Access)}, and write includes read]",
)
@settings("data_dir")
def create_key(live: bool, allowed: tuple[str, ...], **given: str | None) -> None:
    """Make a secret key, or with --allow a restricted one, and show it.

    It is stored as a hash, so it cannot be shown again.
    """
    permissions = _permissions(allowed) if allowed else None
    with _keys(given) as (keys, account):
        key, secret = keys.create(Tenant(account.id, live), permissions)
    out.print(f"{key.id}  {secret}", soft_wrap=True)


@keys.command("list")
@settings("data_dir")
def list_keys(**given: str | None) -> None:
    """List all keys: id, mode, last characters, what they may do, when made and revoked."""
    # In a narrow window ids and permissions must stay whole: they are what is typed next.
    whole, folded = Column("id", no_wrap=True), Column("may", overflow="fold")
    table = Table(whole, "mode", "ends in", folded, "created", "revoked")
    with _keys(given) as (keys, account):
        for key in keys.list(account.id):
            mode = "live" if key.tenant.livemode else "test"
            may = _may(key.permissions)
            table.add_row(key.id, mode, key.hint or "-", may, _moment(key.created_ms), _moment(key.revoked_ms))
    out.print(table)


@keys.command("revoke")
@click.argument("key_id")
@settings("data_dir")
def revoke_key(key_id: str, **given: str | None) -> None:
    """Revoke a key by its id. Its sessions stop working within 5 seconds."""
    with _keys(given) as (keys, _):
        try:
            key = keys.revoke(key_id)
        except NotFound as error:
            raise StartRefused(f"{error.message}; `streamgauge keys list` shows the ids") from error
    out.print(f"{key.id} is revoked since {_moment(key.revoked_ms)}")


@cli.command()
@click.option("--url", default=None, metavar="URL", help="Of the server.  [default: http://127.0.0.1:8420]")
@click.option("--key", default=None, metavar="KEY", help="Secret key.  [env: STREAMGAUGE_SECRET_KEY]")
def status(url: str | None, key: str | None) -> None:
    """Show how far a running server has come with the events of the key's account and mode."""
    with running_server(url, key) as server:
        told = server.get("/streamgauge/status")
    table = Table(show_header=False)
    for name, value in told.items():
        table.add_row(name, f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value))
    out.print(table)


@cli.command()
@click.option("--code", default=None, metavar="CODE", help="Only events that were rejected with this code.")
@click.option("--event-name", default=None, metavar="NAME", help="Only events with this name.")
@click.option("--customer", default=None, metavar="ID", help="Only events of this customer.")
@click.option("--identifier", default=None, metavar="TEXT", help="Only events with this identifier.")
@click.option("--dry-run", is_flag=True, help="Say what would become of them, and write nothing.")
@click.option("--url", default=None, metavar="URL", help="Of the server.  [default: http://127.0.0.1:8420]")
@click.option("--key", default=None, metavar="KEY", help="Secret key.  [env: STREAMGAUGE_SECRET_KEY]")
def redrive(dry_run: bool, url: str | None, key: str | None, **given: str | None) -> None:
    """Judge rejected events of a running server anew, after what was missing was created.

    They are counted by the meters and customers of now, at the times that they had. Those that cannot be counted stay
    dead letters. Again changes nothing.
    """
    wanted = {name: value for name, value in given.items() if value is not None}
    counted = duplicates = 0
    rejected: Counter[str] = Counter()
    form = wanted | {"dry_run": str(dry_run).lower()}
    with running_server(url, key) as server, Bar("redriving") as bar:
        while True:
            told = server.post("/streamgauge/dead_letters/redrive", form)
            counted, duplicates = counted + told["counted"], duplicates + told["duplicates"]
            rejected.update(told["rejected"])
            if not told["has_more"]:
                break
            # The cursor says how far in the log it has come, and where it ends.
            form["cursor"] = told["cursor"]
            _, at, end = told["cursor"].split("_")
            bar(int(at), int(end))
    table = Table("would be" if dry_run else "became", Column("events", justify="right"))
    table.add_row("counted", f"{counted:,}")
    table.add_row("duplicate", f"{duplicates:,}")
    for code, count in sorted(rejected.items()):
        table.add_row(f"rejected: {code}", f"{count:,}")
    out.print(table)


@cli.command()
@settings("data_dir")
def verify(**given: str | None) -> None:
    """Count everything again from the log, and compare that with what is stored and served.

    Beside a running server it is a snapshot that is compared; the server goes on meanwhile.
    Exit status 1 and the places, when something differs.
    """
    config = load(os.environ, given)
    from streamgauge.bootstrap import trust
    from streamgauge.engine.verification import DIFFERENCES_MAX

    with Bar("counting again") as bar:
        try:
            found = trust.verify(config, bar)
        except Corrupt as error:
            err.print(error.message, markup=False, soft_wrap=True)
            sys.exit(EXIT_DIFFERENT)
    for each in found.differences:
        err.print(each, markup=False, soft_wrap=True)
    waiting = f"; {found.unapplied:,} more wait to be applied" if found.unapplied else ""
    if found.from_offset:
        waiting += f"; the log begins at offset {found.from_offset:,}, what came before was dropped"
    redriven = f"{found.redriven:,} redriven, " if found.redriven else ""
    counted = f"{found.events:,} events, {redriven}{found.cancellations:,} cancelled, "
    counted += f"{found.windows:,} minutes of rollups"
    if found.differences:
        at_least = "at least " if len(found.differences) == DIFFERENCES_MAX else ""
        err.print(f"{at_least}{len(found.differences)} differences among {counted}{waiting}", soft_wrap=True)
        sys.exit(EXIT_DIFFERENT)
    out.print(f"all agree: {counted}{waiting}", soft_wrap=True)


@cli.command()
@click.option(
    "--all", "everything", is_flag=True, help="Also the stored events and receipts: apply the whole log anew."
)
@settings("data_dir")
def rebuild(everything: bool, **given: str | None) -> None:
    """Make rollups and deduplication filter anew from the stored events, or with --all everything from the log.

    A running server does it by itself and goes on accepting and answering; for --all it must be stopped. Killed in
    between, the next start of the server completes it before it serves, and so does the next rebuild.
    """
    config = load(os.environ, given)
    from streamgauge.bootstrap import trust

    with Bar("rebuilding") as bar:
        reached = trust.rebuild(config, everything=everything, on_progress=bar)
    out.print(f"rebuilt up to offset {reached:,} of the log", soft_wrap=True)


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--with-store",
    is_flag=True,
    help="Copy the usage store, too, so that it need not be made again from the log. Always done once retention_days "
    "has dropped what it was made of.",
)
@settings("data_dir")
def backup(folder: Path, with_store: bool, **given: str | None) -> None:
    """Copy what cannot be made again into FOLDER, which must be empty, whether or not the server runs."""
    config = load(os.environ, given)
    from streamgauge.bootstrap import trust

    with Bar("copying", DownloadColumn()) as bar:
        made = trust.back_up(config, folder, with_store=with_store, on_bytes=bar)
    size_mb = sum(each.size_bytes for each in made.files.values()) / 1e6
    out.print(f"backed up {made.next_offset:,} entries of the log in {size_mb:,.1f} MB to {folder}", soft_wrap=True)


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
@settings("data_dir")
def restore(folder: Path, **given: str | None) -> None:
    """Bring the backup in FOLDER back into an empty data folder, and apply what of its log is not in its store."""
    config = load(os.environ, given)
    from streamgauge.bootstrap import trust

    with Bar("copying", DownloadColumn()) as copying, Bar("applying the log") as applying:
        reached = trust.restore(config, folder, copying, applying)
    out.print(f"restored to {config.data_dir}, up to offset {reached:,} of the log", soft_wrap=True)


@cli.command()
@click.option("--once", is_flag=True, help="End after the comparison instead of leaving the server running.")
@settings("data_dir", "host", "port")
def demo(once: bool, **given: str | None) -> None:
    """Start a server, stream real usage through it, and compare its totals with the file they came from.

    The server stays up until Ctrl-C, so that you can look around with the URL and key that are shown.
    """
    config = load(os.environ, given)
    from streamgauge.demo.program import run

    # SIGTERM ends the demo like Ctrl-C, so that its server ends too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with _server(config) as url:
        secret = _demo_secret(config)
        equal = run(url, secret, out, config.tls_cert)
        if not once:
            out.print(
                f"\nThe server is running at [bold]{url}[/] with the secret key [bold]{secret}[/]", soft_wrap=True
            )
            out.print("Ctrl-C ends it.")
            _wait_for_interrupt()
    sys.exit(0 if equal else 1)


@contextmanager
def _server(config: Config) -> Iterator[str]:
    """A server in a process of its own; yields its URL when it is ready."""
    command = [sys.executable, "-m", "streamgauge", "serve", f"--data-dir={config.data_dir}"]
    command += [f"--host={config.host}", f"--port={config.port}"]
    # A session of its own: Ctrl-C is for the demo, which then ends the server in order.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    try:
        words = (word for line in process.stdout for word in line.split())
        url = next((word for word in words if word.startswith(("http://", "https://"))), None)
        if url is None:
            raise StartRefused("the server did not start; its own words are above")
        yield url
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def _demo_secret(config: Config) -> str:
    if config.secret_key is not None:
        return config.secret_key.reveal()
    with _keys({"data_dir": str(config.data_dir)}) as (keys, account):
        _, secret = keys.create(Tenant(account.id, livemode=False))
    return str(secret)


def _wait_for_interrupt() -> None:
    try:
        signal.pause()
    except KeyboardInterrupt:
        out.print("stopping")


def _permissions(allowed: Iterable[str]) -> Permissions:
    """What was given as `resource=access`. Raises StartRefused for the first that is not, with what there is."""
    permissions: dict[Resource, Access] = {}
    for each in allowed:
        resource, _, access = each.partition("=")
        if resource not in list(Resource):
            raise StartRefused(f"--allow {each}: the resource is one of {', '.join(Resource)}, as in meters=read")
        if access not in list(Access):
            raise StartRefused(f"--allow {each}: the access is one of {', '.join(Access)}, as in {resource}=read")
        if Resource(resource) in permissions:
            raise StartRefused(f"--allow {each}: {resource} is given twice; write includes read")
        permissions[Resource(resource)] = Access(access)
    return permissions


def _may(permissions: Permissions | None) -> str:
    if permissions is None:
        return "everything"
    return " ".join(str(Permission(resource, access)) for resource, access in permissions.items()) or "nothing"


@contextmanager
def _keys(given: dict[str, str | None]) -> Iterator[Any]:
    from streamgauge.adapters.system.data_folder import DataFolder
    from streamgauge.bootstrap.keys import open_keys

    with open_keys(DataFolder(load(os.environ, given).data_dir)) as opened:
        yield opened


def _say_ready(url: str) -> None:
    out.print(f"Streamgauge {__version__} is ready at {url}", soft_wrap=True)


def _say_key(secret: str) -> None:
    out.print(f"Secret key of this folder, shown this once: {secret}", soft_wrap=True)


def _moment(at_ms: int | None) -> str:
    return "" if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def main() -> NoReturn:
    """Errors of ours are one line and an exit status; mistakes of ours are a traceback."""
    os.umask(0o077)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    logging.getLogger("streamgauge").setLevel(logging.INFO)
    try:
        cli()
    except StreamgaugeError as error:
        err.print(f"streamgauge: {error.message}", markup=False, soft_wrap=True)
        sys.exit(EXIT_REFUSED)
    sys.exit(0)
