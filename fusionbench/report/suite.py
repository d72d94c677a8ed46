"""The page of a benchmark file with panels: what was expected of each, what became of it, and a short table; a link to the rest.

It is made from the records of the panels' own reports, so that it is whole whichever panels were run this time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from fusionbench import __version__
from fusionbench.analysis.ranking.differences import AREA, BETTER, WORSE
from fusionbench.analysis.words import arm_name, hidden_words, interval, metric_name, number, signed
from fusionbench.config.alternatives import NO_RESULT
from fusionbench.config.sections import REFERENCES, Benchmark
from fusionbench.contract.blocks import Picture
from fusionbench.errors import DataError, without_secrets
from fusionbench.report import about
from fusionbench.report.record import NAME as RECORD
from fusionbench.report.record import read_record
from fusionbench.report.regimes.sweep import write_sweep
from fusionbench.store.files import write_atomically
from fusionbench.store.workspace import Workspace

if TYPE_CHECKING:
    from fusionbench.config.panels import Suite

HERE = Path(__file__).parent
PAGE: Final = "report.html"
NAME: Final = "suite.json"
FORMAT: Final = 1
MARKS: Final = {"held": "held", "failed": "failed", "not shown": "open"}


class Cell(NamedTuple):
    """A cell of a table, and how it is marked."""

    words: str
    mark: str = ""


class Row(NamedTuple):
    """A row of a table."""

    cells: Sequence[Cell]


class PanelPart(NamedTuple):
    """What the page says of one panel.

    Args:
        name: Of the panel.
        anchor: Where it lies on the page.
        title: In words.
        question: What it asks; empty: nothing.
        state: Why there are no numbers, or old ones; empty: they are there.
        answer: Sentences that answer the question.
        expectations: What was expected: ``says``, ``verdict``, ``mark``, ``numbers``.
        caption: Of the table.
        columns: Of the table.
        rows: Of the table.
        link: Where the panel's own report lies, from this page; empty: nowhere.
    """

    name: str
    anchor: str
    title: str
    question: str
    state: str = ""
    answer: Sequence[str] = ()
    expectations: Sequence[Mapping[str, Any]] = ()
    caption: str = ""
    columns: Sequence[str] = ()
    rows: Sequence[Row] = ()
    link: str = ""


def write_suite(suite: Suite, benchmarks: Mapping[str, Benchmark], workspace: Path) -> Path | None:
    """Write ``reports/<name of the file>/report.html`` from what the panels left, and ``suite.json`` beside it.

    Args:
        suite: The benchmark file as a whole.
        benchmarks: Those of its panels that were read, by name.
        workspace: Folder of the run.

    Returns:
        The page; None where no panel has a report.

    Raises:
        WorkspaceError: The folder cannot be written.
    """
    folders, records = Workspace(workspace), records_of(suite, workspace)
    if not any(records.values()):
        return None
    parts = [_part(suite, name, records[name], benchmarks.get(name)) for name in suite.panels]
    folder = folders.report(suite.name)
    listing = {
        "format": FORMAT,
        "name": suite.name,
        "title": suite.title,
        "question": suite.question,
        "panels": {name: suite.benchmark(name) for name in suite.panels},
        "expectations": {part.name: [dict(e) for e in part.expectations] for part in parts},
    }
    write_atomically(folder / NAME, json.dumps(listing, sort_keys=True).encode())
    ribbons = list(dict.fromkeys(r for record in records.values() for r in (record or {}).get("ribbons", ())))
    charted = write_sweep(suite, records, folder, ribbons)
    write_atomically(folder / PAGE, render(suite, parts, ribbons, charted).encode())
    return folder / PAGE


def records_of(suite: Suite, workspace: Path) -> dict[str, dict[str, Any] | None]:
    """Return what the report of each panel recorded; None where there is none, or none that this version reads."""
    folders = Workspace(workspace)
    return {name: _record(folders.report(suite.benchmark(name))) for name in suite.panels}


def read_suite(folder: Path) -> dict[str, str]:
    """Return the names of a suite's benchmarks by panel, from the folder of its page.

    Raises:
        DataError: It cannot be read.
    """
    path = folder / NAME
    try:
        found = json.loads(path.read_bytes())
        if found["format"] == FORMAT:
            return {str(name): Path(str(benchmark)).name for name, benchmark in found["panels"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise DataError(f"{path} cannot be read: {type(problem).__name__}; make the report again") from None
    raise DataError(f"{path}: format {found['format']!r:.40}; this version reads {FORMAT}; make the report again")


def render(suite: Suite, parts: Sequence[PanelPart], ribbons: Sequence[str], charted: Picture | None = None) -> str:
    """Return the page as HTML; ``charted``: the map of a sweep."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style = "".join((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "suite.css"))
    page: str = environment.get_template("suite.html.j2").render(
        title=suite.title or suite.name,
        question=suite.question,
        panels=parts,
        map=charted,
        ribbons=ribbons,
        version=__version__,
        style=style,
    )
    return page


# --------------------------------------------------------------------------------------------
# one panel


def _record(folder: Path) -> dict[str, Any] | None:
    """What a panel's report recorded; None where there is none, or none that this version reads."""
    try:
        return read_record(folder) if (folder / RECORD).exists() else None
    except DataError:
        return None


def _part(suite: Suite, name: str, record: Mapping[str, Any] | None, now: Benchmark | None) -> PanelPart:
    anchor = "panel-" + re.sub(r"[^A-Za-z0-9_-]", "-", name)
    settings = {} if record is None else record["configuration"]
    title = (now.title if now is not None else settings.get("title")) or name
    question = (now.question if now is not None else settings.get("question")) or ""
    question = "" if question == suite.question else question
    if record is None:
        return PanelPart(name, anchor, title, question, "This panel has no report yet.")
    columns, rows = _table(record)
    return PanelPart(
        name,
        anchor,
        title,
        question,
        ""
        if now is None or _deciding(settings) == _deciding(_settings(now))
        else "The file has changed since this panel was run.",
        _answer(record),
        [{**e, "mark": MARKS.get(e["verdict"], "open")} for e in record.get("expectations", ())],
        _caption(record),
        columns,
        rows,
        f"../{suite.benchmark(name)}/{PAGE}",
    )


def _deciding(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without what changes no number."""
    training = {k: v for k, v in settings["training"].items() if k not in NO_RESULT}
    return {
        **{k: v for k, v in settings.items() if k not in ("observers", "robustness", "title", "question")},
        "training": training,
    }


def _settings(benchmark: Benchmark) -> Any:
    """A configuration as records have it."""
    return without_secrets(benchmark.model_dump(mode="json", exclude=about.NOT_SHOWN))


def _answer(record: Mapping[str, Any]) -> list[str]:
    """The three sentences of a panel's report; none in a record from before they were kept."""
    found = record.get("answer") or {}
    return [found[key] for key in ("average", "missing", "cost") if found.get(key)]


# --------------------------------------------------------------------------------------------
# the short decision table of a panel


def _table(record: Mapping[str, Any]) -> tuple[list[str], list[Row]]:
    """Every line: its score, its differences to the baseline, and whether it could be the best."""
    nan = float("nan")
    board, differences = (
        [{k: nan if v is None else v for k, v in line.items()} for line in record.get(name, ())]
        for name in ("leaderboard", "differences")
    )
    points = _points(differences)
    columns = ["strategy", "score [95 %]", *(_point_name(*p) for p in points), "could be the best"]
    called = _names(board)
    by_place = {(_line(d), d["pattern"], _rate(d)): d for d in differences}
    rows = []
    for line in board:
        cells = [by_place.get((_line(line), *point)) for point in points]
        rows.append(Row([Cell(called[_line(line)]), _score(line), *map(_difference, cells), _possible(line)]))
    return columns, rows


def _caption(record: Mapping[str, Any]) -> str:
    said = f"Every strategy of this panel by {metric_name(record['metric'])}, the best first."
    if best := _best_possible(record):
        said += f" Best possible: {best}."
    if not record.get("baseline"):
        return said
    baseline = _names(record["leaderboard"])[tuple(record["baseline"])]
    return (
        f"{said} Differences are to {baseline}; better and worse stand where they were shown, if everything were trained "
        "again."
    )


def _best_possible(record: Mapping[str, Any]) -> str:
    """What no strategy can exceed, at the ends of the curves; empty where it is not known."""
    rows = record.get("best_possible", ())
    rates = [row["rate"] for row in rows]
    at_ends = [row for row in rows if row["rate"] in (min(rates), max(rates))]
    found = {
        hidden_words(r["pattern"], r["rate"]) if r["rate"] else "complete data": number(r["ceiling"]) for r in at_ends
    }
    return ", ".join(f"{value} ({where})" for where, value in found.items())


def _points(differences: Sequence[Mapping[str, Any]]) -> list[tuple[str, float]]:
    """The mean over everything; complete data; every pattern at its highest rate."""
    found = dict.fromkeys((d["pattern"], _rate(d)) for d in differences)
    area = [p for p in found if p[0] == AREA]
    rates = [rate for pattern, rate in found if pattern != AREA]
    if not rates or min(rates) == max(rates):
        return area
    complete = next(p for p in found if p[0] != AREA and p[1] == min(rates))
    return [*area, complete, *(p for p in found if p[0] != AREA and p[1] == max(rates))]


def _rate(row: Mapping[str, Any]) -> float:
    rate = float(row["rate"])
    return rate if rate == rate else -1.0  # noqa: PLR0124 - NaN is not equal to itself, and could not be looked up


def _point_name(pattern: str, rate: float) -> str:
    if pattern == AREA:
        return "on average"
    return "complete data" if rate == 0 else hidden_words(pattern, rate)


def _line(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["strategy"], row["imputer"], str(row.get("variant") or row.get("trained_at") or "")


def _names(board: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, str], str]:
    """What each line is called: by its strategy, and with its imputer where the strategy has several lines."""
    strategies = [line["strategy"] for line in board]
    return {
        _line(line): line["strategy"] if strategies.count(line["strategy"]) == 1 else arm_name(*_line(line))
        for line in board
    }


def _score(line: Mapping[str, Any]) -> Cell:
    return Cell(number(line["area"]) if line["strategy"] in REFERENCES else interval(line, "area"))


def _difference(row: Mapping[str, Any] | None) -> Cell:
    """A difference with its sign; marked where it was shown."""
    if row is None:
        return Cell("")
    words = {BETTER: " better", WORSE: " worse"}.get(row["shown"], "")
    return Cell(f"{signed(row['difference'])}{words}", row["shown"] if words else "")


def _possible(line: Mapping[str, Any]) -> Cell:
    return Cell("yes", "best") if line["group"] == 1 else Cell("")
