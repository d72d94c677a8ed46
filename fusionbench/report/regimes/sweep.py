"""The map of a benchmark file with a grid: made from the records of its panels, drawn, and kept as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from fusionbench import __version__
from fusionbench.analysis.regimes.charted import Made, RegimeMap
from fusionbench.analysis.regimes.gathering import Panel, gathered
from fusionbench.analysis.sheets import Marks, as_csv, as_parquet, sheet
from fusionbench.analysis.words import listed, percent
from fusionbench.config.sections import RANDOM_WEIGHTS, SYNTHETIC
from fusionbench.contract.blocks import Picture
from fusionbench.keys import PROTOCOL_VERSION
from fusionbench.plan.lines import Line
from fusionbench.report.regimes.picture import MOST_DIALS, sweep_picture
from fusionbench.store.files import write_atomically

if TYPE_CHECKING:
    from fusionbench.config.panels import Suite

NAME: Final = "map"
"""Of the picture, and of the table beside it."""
_WORDS: Final = {*Line._fields, "pattern", "shown", "called", "subset"}


def map_of(suite: Suite, records: Mapping[str, Mapping[str, Any] | None]) -> RegimeMap | None:
    """Make the map of a sweep, of the panels that have a report.

    Args:
        suite: A benchmark file; one without a grid has no map.
        records: By panel, what its report recorded; None: it has none.

    Returns:
        The map; None where there is none, or nothing can be said of who could be the best.
    """
    found = {
        panel: record
        for panel in suite.grid
        if (record := records.get(panel)) is not None and {"differences", "points", "readings"} <= set(record)
    }
    metrics = {record["metric"] for record in found.values()}
    if len(found) < 2 or len(metrics) != 1:
        return None
    panels = [
        Panel(
            tuple(suite.grid[panel].values()),
            *(_table(record[name]) for name in ("differences", "points", "readings")),
        )
        for panel, record in found.items()
    ]
    if any(len(table) == 0 for panel in panels for table in (panel.differences, panel.curves)):
        return None
    names = next(iter(suite.grid.values()))
    return gathered(panels, list(names), metrics.pop(), _called(found.values()), _made(suite, found))


def _called(records: Any) -> dict[Line, str]:
    points = [point for record in records for point in record["points"]]
    return {Line(p["strategy"], p["imputer"], p["variant"]): p["called"] for p in points}


def _made(suite: Suite, found: Mapping[str, Mapping[str, Any]]) -> Made:
    settings = next(iter(found.values()))["configuration"]
    splits, task = settings["splits"], settings["task"]
    return Made(
        command=f"fusionbench run benchmarks/{suite.name}.yaml",
        version=__version__,
        protocol=PROTOCOL_VERSION,
        data=", ".join(f"{'task' if k == 'name' else k} {v}" for k, v in task.items() if isinstance(v, str | int)),
        settings=f"{len(splits['use'] or range(splits['folds']))} folds, {len(splits['seeds'])} seeds",
    )


def _table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A table of a record, with numbers as numbers."""
    found = pd.DataFrame(list(rows))
    numbers = [name for name in found if name not in _WORDS and found[name].dtype == object]
    return found.assign(**{str(name): pd.to_numeric(found[name]) for name in numbers})


def write_sweep(
    suite: Suite, records: Mapping[str, Mapping[str, Any] | None], folder: Path, ribbons: Sequence[str]
) -> Picture | None:
    """Write ``map.csv`` (and as Parquet), ``map.svg`` and ``map.pdf`` into the folder of a suite's page.

    What an earlier run left goes away.

    Returns:
        The picture; None where there is no map, or it has more dials than a picture.
    """
    charted = map_of(suite, records)
    paths = {ending: folder / f"{NAME}.{ending}" for ending in ("csv", "parquet", "svg", "pdf")}
    picture = None
    if charted is not None and len(charted.dials) <= MOST_DIALS:
        picture = sweep_picture(charted, "map-of-the-sweep", _caption(suite, charted), "; ".join(ribbons))
    files = {} if picture is None else {"svg": f'<?xml version="1.0"?>\n{picture.svg}\n'.encode(), "pdf": picture.pdf}
    if charted is not None:
        found = sheet(charted.table(), Marks(SYNTHETIC in ribbons, any(r.startswith(RANDOM_WEIGHTS) for r in ribbons)))
        files |= {"csv": as_csv(found).encode(), "parquet": as_parquet(found)}
    for ending, path in paths.items():
        if ending in files:
            write_atomically(path, files[ending])
        else:
            path.unlink(missing_ok=True)
    return picture


def _caption(suite: Suite, charted: RegimeMap) -> str:
    done, planned = len(charted.regimes), len(suite.grid)
    right = f", {charted.dials[1]} to the right" if len(charted.dials) > 1 else ""
    blocks = f", blocks are {charted.dials[2]}" if len(charted.dials) > 2 else ""
    against = "the best possible prediction" if charted.planted else "the best of the lines there"
    return (
        f"Each cell is a panel: {charted.dials[0]} upwards{right}{blocks}. The darker, the farther behind {against}; "
        "a dot marks a strategy that could be the best there if everything were trained again, and the first row counts them. "
        f"Missing: {charted.pattern}, at nominal rates of {listed([percent(rate) for rate in charted.rates])}. "
        f"{'' if done == planned else f'{done} of {planned} panels have a report. '}"
        f"The numbers are in {NAME}.csv beside this page."
    )
