"""One page for a paper: every table and figure in the paper's order, what was run, and what could not be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fusionbench import __version__
from fusionbench.analysis.published import Value, read_values
from fusionbench.contract.blocks import Block, Legend, Picture, Section, Table, Text
from fusionbench.report.page import blocks_environment
from fusionbench.report.papers.values import Found, Key, compared_by_both, count_words, found_in, value_tables
from fusionbench.report.results import result_sections
from fusionbench.store.files import write_atomically

if TYPE_CHECKING:
    from fusionbench.contract.papers import Paper, PaperPart
    from fusionbench.records import RunSummary

HERE = Path(__file__).parents[1]
PAGE: Final = "report.html"
_NAMES_IN_A_DRAWING: Final = re.compile(r'(\bid="|href="#|url\(#)')


@dataclass
class FileRun:
    """What became of one benchmark file.

    Args:
        name: The file, as parts name it.
        code: Exit code of its run.
        reason: Why it could not be run, or not to the end; empty: it was.
        summaries: Of its panels, in order.
        drawn: By name of a benchmark and title, sections that were drawn for the page already.
    """

    name: str
    code: int = 0
    reason: str = ""
    summaries: list[RunSummary] = field(default_factory=list)
    drawn: dict[tuple[str, str], list[Section]] = field(default_factory=dict)

    def sections(self, summary: RunSummary, title: str) -> list[Section]:
        """Return a section of a run's own report, drawn once; none where the run has no data for it."""
        key = (summary.plan.benchmark.name, title)
        if key not in self.drawn:
            self.drawn[key] = list(result_sections(summary, [title]))
        return self.drawn[key]


def write_paper(paper: Paper, runs: Mapping[str, FileRun], folder: Path, *, quick: bool = False) -> Path:
    """Write ``report.html`` of a paper into a folder, from what its files left so far.

    Args:
        paper: The paper.
        runs: By name of a file; one that is not there has not been run.
        folder: Where the page goes.
        quick: Whether the runs were shortened.

    Returns:
        The page.

    Raises:
        DataError: The file of published values cannot be read.
        WorkspaceError: The folder cannot be written.
    """
    values = [] if paper.published is None else read_values(paper.published)
    every = [s for run in runs.values() for s in run.summaries]
    ribbons = list(dict.fromkeys(r for s in every for r in s.plan.ribbons))
    if quick:
        ribbons.append("QUICK: few folds and epochs, nothing tuned; these numbers show that it runs, and nothing else")
    sections = [_opening(paper, runs), *(_part(paper, part, runs, values, folder) for part in paper.parts)]
    text = _rendered(paper, sections, ribbons)
    write_atomically(folder / PAGE, text.encode())
    return folder / PAGE


def _rendered(paper: Paper, sections: Sequence[Section], ribbons: Sequence[str]) -> str:
    environment = blocks_environment({})
    page: str = environment.get_template("paper.html.j2").render(
        title=f"{paper.title}, asked again",
        citation=paper.citation,
        sections=sections,
        ribbons=ribbons,
        links={},
        version=__version__,
        style="".join((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "suite.css")),
    )
    return page


# --------------------------------------------------------------------------------------------
# the beginning


def _opening(paper: Paper, runs: Mapping[str, FileRun]) -> Section:
    rows = [[part.name, part.title, _state(part, runs)] for part in paper.parts]
    overview = Table("Every table and figure, in the paper's order.", ["part", "about", "state"], rows, words=True)
    settings = Text("How the paper says that its numbers were made:", paper.settings) if paper.settings else Text("")
    return Section("Overview", [Text(_WORDS), overview, settings])


_WORDS = (
    "The tables and figures of a paper, asked again by the benchmark files named in each part. Published values stand beside "
    "ours where the data are comparable; on made-up data they are folded under published on other data. Intervals say what "
    "would be seen if everything were trained again."
)


def _state(part: PaperPart, runs: Mapping[str, FileRun]) -> str:
    """What became of a part, in a few words."""
    if not part.files:
        return "no file asks this"
    said = []
    for name in part.files:
        run = runs.get(name)
        if run is None:
            said.append("not run yet")
        elif run.reason:
            said.append(f"{Path(name).name}: {run.reason.splitlines()[0]}")
        else:
            said.append("run" if run.code == 0 else f"{Path(name).name}: run, with failures")
    return "; ".join(dict.fromkeys(said))


# --------------------------------------------------------------------------------------------
# a part


def _part(paper: Paper, part: PaperPart, runs: Mapping[str, FileRun], values: Sequence[Value], folder: Path) -> Section:
    mine = [runs[name] for name in part.files if name in runs]
    summaries = [s for run in mine for s in run.summaries]
    asked = [v for v in values if v.table == part.name]
    found = found_in(summaries, paper.title)
    title = f"{part.name[:1].upper()}{part.name[1:]}: {part.title}"
    blocks = [*_words(part, mine, summaries), *_numbers(part, asked, found, summaries)]
    shown = list(_sections(part, mine))
    return Section(title, blocks, [*shown, *_links(summaries, folder)])


def _words(part: PaperPart, runs: Sequence[FileRun], summaries: Sequence[RunSummary]) -> Iterator[Block]:
    if part.shows:
        yield Text(part.shows)
    if part.open:
        yield Text("What the paper leaves open, and how it is read here:", part.open)
    for run in runs:
        if run.reason:
            yield Text(f"{run.name} could not be run to the end:", run.reason.splitlines())
    if not summaries:
        yield Text("Nothing has been run for this part yet.")
    failed = [f"{s.plan.benchmark.name}: {len(s.failures)} models failed" for s in summaries if s.failures]
    if failed:
        yield Text("Some models failed:", failed)


def _numbers(
    part: PaperPart, values: Sequence[Value], found: Mapping[Key, Found], summaries: Sequence[RunSummary]
) -> Iterator[Block]:
    if not values:
        return
    yield Text(count_words(values, found))
    yield from value_tables(values, found, part.name)
    if part.against and summaries:
        test = compared_by_both(part.against, values, found, summaries[-1])
        yield from [test] if test is not None else []


def _sections(part: PaperPart, runs: Sequence[FileRun]) -> Iterator[Section]:
    """The pictures and tables of the runs' own reports that answer a part."""
    every = [(run, summary) for run in runs for summary in run.summaries]
    for number, (run, summary) in enumerate(every, 1):
        for section in (found for title in part.sections for found in run.sections(summary, title)):
            title = f"{_panel(summary)}{section.title}" if len(every) > 1 else section.title
            yield Section(title, [_own(block, f"{_slug(part.name)}-{number}-") for block in section.every()])


def _panel(summary: RunSummary) -> str:
    title = summary.plan.benchmark.title
    return f"{title}: " if title else ""


def _slug(words: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def _own(block: Block, prefix: str) -> Block:
    """A block for a page that holds others of its kind: names in drawings are its own, tables are folded."""

    def renamed(svg: str) -> str:
        return _NAMES_IN_A_DRAWING.sub(rf"\g<1>{prefix}", svg)

    if isinstance(block, Picture):
        return replace(block, svg=renamed(block.svg), name=f"{block.name}-{prefix}".rstrip("-"), pdf=b"")
    if isinstance(block, Legend):
        return replace(block, entries=[(renamed(svg), label) for svg, label in block.entries])
    return replace(block, folded=True) if isinstance(block, Table) else block


def _links(summaries: Sequence[RunSummary], folder: Path) -> Iterator[Section]:
    names = [s.plan.benchmark.name for s in summaries if (folder.parent / s.plan.benchmark.name / PAGE).is_file()]
    if names:
        yield Section("Reports", [Links([(f"../{name}/{PAGE}", name) for name in names])])  # type: ignore[list-item]


@dataclass(frozen=True)
class Links:
    """Links to other pages of the workspace: address and text."""

    entries: Sequence[tuple[str, str]]
