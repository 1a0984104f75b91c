"""Summaries beside the sums of the file they came from."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from rich.box import SIMPLE_HEAD
from rich.table import Table

from streamgauge.demo.trace import CONTEXT_TOKENS, CUSTOMERS, GENERATED_TOKENS, LLM_CALLS, UsageKey

COLUMNS = ((LLM_CALLS, "calls"), (CONTEXT_TOKENS, "context\ntokens"), (GENERATED_TOKENS, "generated\ntokens"))


@dataclass(frozen=True, slots=True)
class Comparison:
    """`summaries` as read back from the server, `expected` as added up from the file; both hold the same keys."""

    summaries: Mapping[UsageKey, Decimal]
    expected: Mapping[UsageKey, int]

    @property
    def all_equal(self) -> bool:
        return self.summaries == self.expected

    def table(self) -> Table:
        """One row per customer: for each meter the summary and the file's sum, and whether all three agree."""
        # Narrow enough for 80 columns.
        table = Table(title="Event summaries beside the sums of the CSV", box=SIMPLE_HEAD)
        table.add_column("customer", no_wrap=True)
        for _, title in COLUMNS:
            table.add_column(title, justify="right")
            table.add_column("CSV", justify="right", style="dim")
        table.add_column("equal", justify="center")
        for customer_index in range(CUSTOMERS):
            cells: list[str] = []
            keys = [UsageKey(event_name, customer_index) for event_name, _ in COLUMNS]
            for key in keys:
                cells += [f"{self.summaries[key]:,}", f"{self.expected[key]:,}"]
            equal = all(self.summaries[key] == self.expected[key] for key in keys)
            table.add_row(customer_name(customer_index), *cells, "[green]✓[/]" if equal else "[red]✗[/]")
        return table


def customer_name(customer_index: int) -> str:
    return f"Customer {customer_index:02}"
