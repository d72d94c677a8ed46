"""How often the statistical rule is wrong, and what it finds: the tables of docs/statistics.md, made again.

    python benchmarks/statistics/rule.py --studies 300
    python benchmarks/statistics/rule.py --studies 40 --only power

A row of a table is written when it is done. At 20,000 patients a third of the studies is drawn.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
from boards import Drawn, Fitted
from numpy.typing import NDArray

from fusionbench.statistics.verdict import Verdict, verdict_of

LEVEL = 0.05
Worse = NDArray[np.bool_]
Share = tuple[float, float]
"""A mean over studies with its standard error."""


class Found(NamedTuple):
    """What is kept of one study."""

    pairs: float  # share of pairs of equal lines with p < .05, if trained again
    these: float  # the same, of these models
    out: bool  # some truly best line is not in group 1
    worse_out: float  # share of worse lines that are not in group 1
    power: float  # share of pairs of a better and a worse line with p < .05
    values: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def study(kind: Fitted | Drawn, number: int) -> Found:
    """Draw one board and judge it."""
    theta, patients = kind.board(number)
    return _found(verdict_of(theta, patients, unit=True), _worse(kind))


def _worse(kind: Fitted | Drawn) -> Worse:
    if isinstance(kind, Drawn):
        return np.array(kind.losses) > 0
    return np.arange(kind.lines) >= kind.lines - kind.worse


def _found(verdict: Verdict, worse: Worse) -> Found:
    pairs, groups = verdict.pairs, verdict.groups
    assert groups is not None
    alike = ~worse[pairs.first] & ~worse[pairs.second]
    across = worse[pairs.first] != worse[pairs.second]
    return Found(
        float((pairs.p[alike] < LEVEL).mean()) if alike.any() else np.nan,
        float((pairs.p_these_models[alike] < LEVEL).mean()) if alike.any() else np.nan,
        bool((groups.group[~worse] > 1).any()),
        float((groups.group[worse] > 1).mean()) if worse.any() else np.nan,
        float((pairs.p[across] < LEVEL).mean()) if across.any() else np.nan,
        tuple(verdict.singles.value),
        tuple(verdict.singles.interval[:, 0]),
        tuple(verdict.singles.interval[:, 1]),
    )


class Summary(NamedTuple):
    """Means over studies."""

    pairs: Share
    these: Share
    out: Share
    worse_out: Share
    power: Share
    coverage: Share
    loss: float


def summarise(found: Sequence[Found], worse: Worse) -> Summary:
    """Put studies together; the truth of a line is the mean of its kind over all of them."""
    values = np.array([f.values for f in found])
    better = values[:, ~worse].mean()
    truth = np.where(worse, values[:, worse].mean() if worse.any() else better, better)
    inside = (np.array([f.low for f in found]) <= truth) & (truth <= np.array([f.high for f in found]))
    shares = [np.array(column, dtype=np.float64) for column in zip(*(f[:5] for f in found), strict=True)]
    pairs, these, out, worse_out, power, coverage = map(_share, [*shares, inside.mean(axis=1)])
    loss = float(better - values[:, worse].mean()) if worse.any() else 0.0
    return Summary(pairs, these, out, worse_out, power, coverage, loss)


def _share(values: NDArray[np.float64]) -> Share:
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def said(value: Share) -> str:
    """``.051 (.004)``; a dash where there is nothing to count."""
    return "-" if np.isnan(value[0]) else "{:.3f} ({:.3f})".format(*value).replace("0.", ".")


Row = tuple[str, Fitted | Drawn]


def errors() -> Iterator[Row]:
    """Nothing differs: one strategy under other seeds, and equal strategies."""
    for patients in (500, 2_000, 20_000):
        for seeds in (1, 2, 3):
            for other in (True, False):
                name = "other seeds" if other else "equal strategies"
                yield f"{patients:,} | 5 x {seeds} | {name}", Fitted(patients, 5, seeds, other_seeds=other)


def scores() -> Iterator[Row]:
    """Nothing differs, for areas, labels, and several rows of a patient."""
    for score in ("area", "labels", "rows"):
        for seeds in (1, 3):
            for other in (True, False):
                name = "other seeds" if other else "equal strategies"
                yield f"{score} | 5 x {seeds} | {name}", Fitted(2_000, 5, seeds, other_seeds=other, score=score)


def power() -> Iterator[Row]:
    """Some lines are worse."""
    yield "fit, 8 of 16 lack columns | 5 x 3 | 2,000", Fitted(2_000, 5, 3, worse=8)
    for name, losses in TRUTHS.items():
        yield f"score, {name} | 5 x 3 | 2,000", Drawn(losses)
    yield "score, 8 tied, 8 worse by .006 | 5 x 3 | 20,000", Drawn((0.0,) * 8 + (0.006,) * 8, patients=20_000)


TRUTHS = {
    "16 tied": (0.0,) * 16,
    "12 tied, 4 controls worse by .1": (0.0,) * 12 + (0.1,) * 4,
    "8 tied, 8 worse by .02": (0.0,) * 8 + (0.02,) * 8,
    "4 tied, 12 worse by .02": (0.0,) * 4 + (0.02,) * 12,
    "12 tied, 4 worse by .02": (0.0,) * 12 + (0.02,) * 4,
    "6 tied, 6 worse by .02, 4 by .1": (0.0,) * 6 + (0.02,) * 6 + (0.1,) * 4,
    "one best, 15 worse by .03": (0.0,) + (0.03,) * 15,
    "15 tied, one worse by .04": (0.0,) * 15 + (0.04,),
}
TABLES: dict[str, Callable[[], Iterator[Row]]] = {"errors": errors, "scores": scores, "power": power}
COLUMNS = (
    "studies | equal pair: rule | equal pair: patients only | some best line out | worse lines out | unequal pair found"
)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=300)
    parser.add_argument("--only", choices=TABLES)
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    with ProcessPoolExecutor(asked.processes) as pool:
        for name, rows in TABLES.items():
            if asked.only not in (None, name):
                continue
            print(f"\n{name} | design | truth | {COLUMNS} | coverage of one line | loss | seconds", flush=True)
            for label, kind in rows():
                start = time.perf_counter()
                large = isinstance(kind, Fitted) and kind.patients > 10_000
                studies = max(asked.studies // 3, 4) if large else asked.studies
                found = list(pool.map(partial(study, kind), range(studies), chunksize=4))
                *shares, loss = summarise(found, _worse(kind))
                line = " | ".join([label, str(studies), *map(said, shares), f"{loss:.3f}".replace("0.", ".")])
                print(f"{line} | {time.perf_counter() - start:.0f}", flush=True)


if __name__ == "__main__":
    main()
