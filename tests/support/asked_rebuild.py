"""A rebuild that a running server is asked for, as the command does."""

from pathlib import Path

from streamgauge.adapters.system.data_folder import DataFolder
from streamgauge.api.upkeep import server_at
from streamgauge.bootstrap.upkeep import REBUILD
from streamgauge.domain.errors import StartRefused


def ask_for_a_rebuild(folder: Path, told: list[object]) -> None:
    """What came of it, also that the server was killed meanwhile."""
    with server_at(DataFolder(folder).upkeep_socket) as server:
        try:
            assert server is not None
            told.append(server.ask(REBUILD))
        except StartRefused as error:
            told.append(error)
