"""Judging events of the log: what the catalogue and the events before them make of each.

The applier does it for good; whoever must answer at once (`unapplied.py`) does it ahead, with the same result,
because the result depends only on what stands in the log before an event.
"""

from streamgauge.domain.identifier_hash import hash_identifiers
from streamgauge.domain.judgement import judge
from streamgauge.domain.received_events import ReceivedEvents
from streamgauge.domain.settled_events import SettledEvents, settled_events
from streamgauge.domain.settlement import settle
from streamgauge.engine.catalogue import CatalogueKeeper
from streamgauge.engine.deduplication import Deduplication


class Judging:
    def __init__(self, catalogue: CatalogueKeeper, deduplication: Deduplication, partition: int) -> None:
        self._catalogue = catalogue
        self._deduplication = deduplication
        self._partition = partition

    def settled(self, events: ReceivedEvents, *, below_offset: int) -> SettledEvents:
        """The fate of each event. Claims below `below_offset` are looked up; later ones must be among `events`.

        `events` were read from the log before this is called: then every change of the catalogue that was stamped
        before them is in it.
        """
        catalogue = self._catalogue.settled()
        judgement = judge(events, catalogue)
        hashes = hash_identifiers(events.identifier, events.tenant, events.tenants)
        claimed = self._deduplication.claimed(events, hashes, below_offset=below_offset)
        settlement = settle(events, judgement.code, hashes, claimed)
        return settled_events(events, judgement, settlement, hashes, self._partition)
