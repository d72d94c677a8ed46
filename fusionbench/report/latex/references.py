"""What the lines of a table cite: keys for LaTeX, and entries for BibTeX, from the provenance of each method."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fusionbench.contract.learners import Provenance
from fusionbench.plan.lines import Line

if TYPE_CHECKING:
    from fusionbench.plan.parts import Arm
    from fusionbench.records import RunPlan

_AUTHORS = re.compile(r"(?P<first>[^\d,;:.()]+?)(?: et al\.?|(?:,| and) [^\d;:()]+?)? (?P<year>\d{4})\b")


@dataclass(frozen=True)
class Reference:
    """A paper that a method comes from.

    Args:
        key: How LaTeX names it.
        paper: Authors, year, title, venue, as the method's provenance has them.
        link: Its address; empty: the provenance has none.
    """

    key: str
    paper: str
    link: str

    @property
    def entry(self) -> str:
        """The BibTeX entry: everything that is known of the paper, as a note."""
        note = re.sub(r"([&%$#_])", r"\\\1", self.paper)
        address = f",\n  howpublished = {{\\url{{{self.link}}}}}" if self.link else ""
        return f"@misc{{{self.key},\n  key = {{{self.key}}},\n  note = {{{note}}}{address}\n}}\n"


def reference_of(provenance: Provenance | None) -> Reference | None:
    """Return what a method cites; None for a baseline, and where its provenance does not begin with authors and a year."""
    if provenance is None:
        return None
    found = None if "baseline" in provenance.paper.lower() else _AUTHORS.match(provenance.paper)
    key = provenance.key or (f"{_surname(found['first'])}{found['year']}" if found else "")
    return Reference(key, provenance.paper, provenance.link) if key else None


def _surname(name: str) -> str:
    """The last word of a name in small letters of ASCII: a key of BibTeX holds no others."""
    plain = unicodedata.normalize("NFKD", name.rsplit(maxsplit=1)[-1])
    return re.sub(r"[^a-z]", "", plain.encode("ascii", "ignore").decode().lower())


def cited(plan: RunPlan) -> dict[Line, tuple[Reference, ...]]:
    """Return by line what its strategy and its regularisers cite, each once."""
    return {Line(arm.title, arm.imputer_name): tuple(_references(arm)) for arm in plan.arms}


def _references(arm: Arm) -> Iterator[Reference]:
    seen = set[str]()
    for part in (arm.strategy, *arm.regularisers):
        target = part.registration.target
        reference = reference_of(getattr(target, "provenance", None))
        if reference is not None and reference.key not in seen:
            seen.add(reference.key)
            yield reference


def bibliography(lines: Mapping[Line, tuple[Reference, ...]]) -> str:
    """Return the BibTeX file of all lines together, sorted by key."""
    found = {reference.key: reference for references in lines.values() for reference in references}
    return "\n".join(found[key].entry for key in sorted(found))
