"""A paper: what it published, and which benchmark files ask its tables and figures again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar


@dataclass(frozen=True)
class PaperPart:
    """A table or a figure of a paper.

    Args:
        name: As published values call it: ``table 3``, ``figure 4``.
        title: What it is about.
        files: The benchmark files that ask it again, from :attr:`Paper.folder`; none: nothing can.
        sections: Titles of the sections of a benchmark's report whose pictures and tables answer it.
        shows: What the paper's own table or figure shows, in a sentence or two.
        open: What the paper leaves open, and which reading is the default here; one sentence each.
        against: Name of the strategy that the paper tests the others against, by a paired t over folds; empty: it tests nothing.
    """

    name: str
    title: str
    files: Sequence[str] = ()
    sections: Sequence[str] = ()
    shows: str = ""
    open: Sequence[str] = ()
    against: str = ""


class Paper:
    """A paper whose published values stand beside ours; registered by ``register_papers``, constructed without options.

    Published values are a CSV file (:mod:`fusionbench.analysis.published` says its columns): data, and no code.

    Attributes:
        title: What readers call it: the name of its method.
        citation: Authors, year, title, journal or conference.
        published: The CSV file of its values; None: none are at hand.
        folder: Where its benchmark files lie; None: it has none.
        parts: Its tables and figures, in the paper's order.
        settings: What the paper says of how its numbers were made, one sentence each.
        protocol: By name of a task, keys of a benchmark (with dots) and the value that the paper had. A run that has another
            one is marked.
        cohorts: By name of a task, whom the paper's numbers are about, in words.
    """

    title: ClassVar[str] = ""
    citation: ClassVar[str] = ""
    published: ClassVar[Path | None] = None
    folder: ClassVar[Path | None] = None
    parts: ClassVar[Sequence[PaperPart]] = ()
    settings: ClassVar[Sequence[str]] = ()
    protocol: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    cohorts: ClassVar[Mapping[str, str]] = {}
