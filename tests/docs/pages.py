"""The Markdown pages of the repository: their tables, sections, links and what they name."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "streamgauge"

_FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^(#{1,6}) +(.+?)\s*$", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_NO_PART_OF_AN_ANCHOR = re.compile(r"[^\w\- ]")


@dataclass(frozen=True)
class Page:
    path: Path

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def prose(self) -> str:
        """The text without its fenced blocks."""
        return _FENCE.sub("", self.text)

    @property
    def headings(self) -> list[str]:
        return [match[2] for match in _HEADING.finditer(self.prose)]

    @property
    def anchors(self) -> set[str]:
        """What a link may name after `#`: headings in lower case, with hyphens for blanks and without punctuation."""
        return {_NO_PART_OF_AN_ANCHOR.sub("", heading.lower()).replace(" ", "-") for heading in self.headings}

    @property
    def links(self) -> list[str]:
        return _LINK.findall(self.prose)

    @property
    def code_spans(self) -> list[str]:
        return _CODE.findall(self.prose)

    def section(self, heading: str) -> str:
        """The prose from that heading to the next of the same level or above. Raises LookupError without one."""
        prose = self.prose
        for match in _HEADING.finditer(prose):
            if match[2] == heading:
                end = re.compile(rf"^#{{1,{len(match[1])}}} ", re.MULTILINE).search(prose, match.end())
                return prose[match.end() : end.start() if end else None]
        raise LookupError(f"{self} has no heading {heading!r}")

    def rows(self) -> Iterator[list[str]]:
        """The rows of its tables, as cells."""
        for line in self.prose.splitlines():
            if line.startswith("| "):
                yield [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split(" |")]

    def block(self, heading: str, language: str) -> str:
        """The first fenced block of that language after that heading. Raises LookupError without one."""
        after = self.text.partition(f"# {heading}\n")[2]
        match = re.search(rf"^```{language}\n(.*?)^```$", after, re.DOTALL | re.MULTILINE)
        if match is None:
            raise LookupError(f"{self} has no block of {language} under {heading!r}")
        return match[1]


def page(name: str) -> Page:
    return Page(ROOT / name)


@cache
def all_pages() -> tuple[Page, ...]:
    """Every Markdown file but those of hidden folders, of the benchmarks' results, and of a data folder."""
    found = []
    for path in sorted(ROOT.rglob("*.md")):
        parts = path.relative_to(ROOT).parts
        if not any(part.startswith(".") for part in parts) and parts[0] != "data" and "results" not in parts:
            found.append(Page(path))
    return tuple(found)
