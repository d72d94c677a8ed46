"""From a finished run to the page and the files beside it; nothing is written again when nothing has changed."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusionbench import __version__
from fusionbench.analysis.regimes.charted import PACKAGED as MAP
from fusionbench.analysis.words import arm_name
from fusionbench.contract.blocks import Picture, Section, Table
from fusionbench.contract.isolation import shared
from fusionbench.errors import PluginError
from fusionbench.keys import digest
from fusionbench.plan.lines import lines_of
from fusionbench.report import about, results
from fusionbench.report.decision import opening
from fusionbench.report.decision.blocks import LinePicture, Sheet
from fusionbench.report.latex.references import bibliography, cited
from fusionbench.report.latex.tables import Style, latex
from fusionbench.report.lines import anchors
from fusionbench.report.record import NAME, record
from fusionbench.store.files import to_standard_error, write_atomically
from fusionbench.store.integrity import CHANGED, changed_files, hashes_of

if TYPE_CHECKING:
    from jinja2 import Environment

    from fusionbench.records import RunSummary

HERE = Path(__file__).parent
PAGE, TABLES, PICTURES = "report.html", "tables", "pictures"
MARK = re.compile(rb'<meta name="fusionbench-content" content="(\w+)">')


def write_report(summary: RunSummary, folder: Path, *, siunitx: bool = False) -> Path:
    """Write ``report.html``, ``record.json``, LaTeX tables (``tables/``) and pictures (``pictures/``) into a folder.

    Args:
        summary: A finished run, with what observers add to the report.
        folder: ``reports/<benchmark>`` of the workspace.
        siunitx: Whether columns of numbers in LaTeX are aligned by siunitx.

    Returns:
        The page.

    Raises:
        WorkspaceError: The folder cannot be written.
        PluginError: A guest's section has a title that is taken.
    """
    path = folder / PAGE
    content = _content(summary, siunitx)
    listing = summary.plan.folders.results.written / f"{folder.name}.html.json"
    if _written(path) == content:
        changed = changed_files(folder, listing)
        if not changed:
            return path
        to_standard_error(f"warning: {folder}: damaged: {', '.join(changed)}: {CHANGED}; made again")
    sections = make_sections(summary)
    files = dict(_files_beside(sections, folder, summary, siunitx))
    for old in [*(folder / TABLES).glob("*.*"), *(folder / PICTURES).glob("*.*")]:
        if old not in files:  # an earlier run left it
            old.unlink()
    for file, data in files.items():
        write_atomically(file, data)
    write_atomically(folder / NAME, json.dumps(record(summary), sort_keys=True).encode())
    # last: a page that is there is complete, and so are the files beside it
    write_atomically(path, render(summary, sections, content).encode())
    names = [file.relative_to(folder).as_posix() for file in (*files, folder / NAME, path)]
    write_atomically(listing, hashes_of(folder, names))
    return path


def _files_beside(
    sections: Sequence[Section], folder: Path, summary: RunSummary, siunitx: bool
) -> Iterator[tuple[Path, bytes]]:
    blocks = [block for section in sections for block in section.every()]
    style, ribbons = _latex_style(summary, siunitx), summary.plan.ribbons
    yield folder / TABLES / "references.bib", bibliography(cited(summary.plan)).encode()
    for block in blocks:
        if isinstance(block, Table) and block.name:
            yield folder / TABLES / f"{block.name}.tex", latex(block, ribbons, style).encode()
        if isinstance(block, Picture) and not isinstance(block, LinePicture):
            yield folder / PICTURES / f"{block.name}.svg", f'<?xml version="1.0"?>\n{block.svg}\n'.encode()
            if block.pdf:
                yield folder / PICTURES / f"{block.name}.pdf", block.pdf


def _latex_style(summary: RunSummary, siunitx: bool) -> Style:
    """What tables for papers call lines, and what they cite beside them."""
    plan, references = summary.plan, cited(summary.plan)
    names = {arm.title: arm.display for arm in plan.arms}
    keys = {line.strategy: tuple(r.key for r in found) for line, found in references.items()}
    for line in (*references, *lines_of(summary.tables.leaderboard)):
        label, name = arm_name(*line), plan.called(line)
        names[label] = name
        keys |= {shown: keys.get(line.strategy, ()) for shown in (label, name)}
    return Style(names, keys, siunitx)


def make_sections(summary: RunSummary) -> list[Section]:
    """Return the sections of a run, in the order of the page."""
    own = [opening.answer(summary), *results.result_sections(summary), about.cohort(summary)]
    last = [about.protocol(summary), about.provenance(summary), about.failures(summary)]
    taken = {s.anchor for s in [*own, *last]}
    clash = [s.title for s in summary.sections if s.anchor in taken]
    if clash:
        raise PluginError(
            f"fusionbench_report_sections: the report has a section called {', '.join(clash)}; choose another title"
        )
    return [*own, *summary.sections, *last]


def render(summary: RunSummary, sections: list[Section], content: str) -> str:
    """Return the page as HTML."""
    links = anchors(summary)
    environment = blocks_environment(links)
    script = (HERE / "page.js").read_text(encoding="utf-8")
    page: str = environment.get_template("page.html.j2").render(
        benchmark=summary.plan.benchmark,
        title=opening.title_of(summary.plan),
        question=opening.question(summary),
        sentences=opening.sentences(summary),
        before=opening.before(summary),
        ribbons=summary.plan.ribbons,
        sections=sections,
        guests={s.anchor for s in summary.sections},
        links=links,
        content=content,
        version=__version__,
        style=(HERE / "page.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=f"sha256-{b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
    )
    return page


def blocks_environment(links: Mapping[str, str]) -> Environment:
    """Return what pages are made with: templates that know every kind of block.

    Args:
        links: By name of a line, the anchor where the page tells of it.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.tests["block"] = _is_a
    environment.filters |= {
        "run_together": _run_together,
        "lines_of_row": partial(_lines_of_row, links=links),
        "shade_class": _shade_class,
        "kind_of": lambda name: "map" if name.startswith("map-") else "drawn",
    }
    return environment


def _is_a(block: Any, kind: str) -> bool:
    return kind in (c.__name__ for c in type(block).__mro__)


def _run_together(blocks: Sequence[Any]) -> list[tuple[str, list[Any]]]:
    """Neighbours of one kind: pictures stand side by side where there is room."""
    return [(kind, list(group)) for kind, group in groupby(blocks, key=_kind)]


def _kind(block: Any) -> str:
    if isinstance(block, Picture) and not isinstance(block, Sheet):
        return "Picture"
    return type(block).__name__


def _lines_of_row(row: Sequence[str], heads: int, links: Mapping[str, str]) -> str:
    """Return where the page tells of the lines that a row of a table is about; with a hidden line its rows go away."""
    names = [*row[:heads], " / ".join(row[:2])] if heads > 1 else row[:heads]
    return " ".join(dict.fromkeys(links[name] for name in names if name in links))


def _shade_class(shade: int | None) -> str:
    return "" if not shade else f"b{shade}" if shade > 0 else f"w{-shade}"


# --------------------------------------------------------------------------------------------
# whether there is anything new


def _written(path: Path) -> str | None:
    """Hash of what the page that is there was made from."""
    try:
        with path.open("rb") as file:
            found = MARK.search(file.read(4096))
    except OSError:
        return None
    return found[1].decode() if found else None


def _content(summary: RunSummary, siunitx: bool) -> str:
    """Hash of everything that the page is made from."""
    tables = summary.tables
    return digest(
        [
            {f.name: getattr(tables, f.name).to_csv(index=False) for f in fields(tables)},
            [table.to_csv(index=False) for table in (summary.traces, *summary.maps, *summary.robustness)],
            summary.plan.benchmark,
            summary.expectations,
            summary.plan.data_digest,
            summary.plan.ribbons,
            [f.key for f in summary.plan.fits],
            about.identities(summary.plan),
            about.environment(),
            siunitx,
            [[[name, shared(reason)] for name, reason in summary.failures], summary.interrupted, summary.notes],
            [_plain(s) for s in summary.sections],
            MAP.read_text(encoding="utf-8"),
            [
                p.read_text(encoding="utf-8")
                for p in sorted(HERE.rglob("*.*"))
                if p.suffix in (".py", ".css", ".j2", ".js")
            ],
        ]
    )


def _plain(section: Section) -> str:
    def shown(value: Any) -> Any:
        return value.hex() if isinstance(value, bytes) else str(value)

    return json.dumps(asdict(section), default=shown, sort_keys=True)
