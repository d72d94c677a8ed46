"""What a run found, as the sentences need it: who could be the best, who differs from the baseline, what it cost."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from fusionbench.analysis.ranking.baseline import baseline_of
from fusionbench.analysis.ranking.differences import BETTER, WORSE
from fusionbench.analysis.ranking.leaderboard import controls_of
from fusionbench.analysis.words import metric_name
from fusionbench.config.sections import REFERENCES
from fusionbench.plan.lines import Line, line_of, lines_of

if TYPE_CHECKING:
    from fusionbench.analysis.cells import Evaluation
    from fusionbench.records import RunPlan, Tables


class Point(NamedTuple):
    """One line at one point of its curve, against the baseline.

    Args:
        line: The line.
        pattern: What is missing.
        rate: Nominal share, 0 to 1.
        achieved: Share of available cells that is really hidden.
        difference: Line minus baseline, in the metric's own direction.
        low: Lower end of the interval if trained again.
        high: Its upper end.
        shown: ``better``, ``worse`` or empty.
        possible_best: Whether the line could be the best there.
    """

    line: Line
    pattern: str
    rate: float
    achieved: float
    difference: float
    low: float
    high: float
    shown: str
    possible_best: bool


@dataclass(frozen=True)
class Situation:
    """The tables of a run, and how to speak of them.

    Args:
        question: What the benchmark asks, in words; empty: the usual question.
        metric: What lines are ranked by, as readers know it.
        leaderboard: One row for each line, the best first.
        differences: Of :mod:`fusionbench.analysis.ranking.differences`.
        design: One row: folds, seeds, smallest detectable difference.
        baseline: What differences are taken from; None: nothing is compared.
        controls: Lines that are fitted controls.
        whole: Lines that read every modality.
        called: From a line to its name for readers.
        doubts: Why its numbers are provisional, as parts of a sentence.
    """

    question: str
    metric: str
    leaderboard: pd.DataFrame
    differences: pd.DataFrame
    design: pd.DataFrame
    baseline: Line | None
    controls: Collection[Line]
    whole: Collection[Line]
    called: Callable[[Line], str]
    doubts: Sequence[str] = ()

    @cached_property
    def ranked(self) -> pd.DataFrame:
        """Rows of the lines that have an area, without references, the best first."""
        board = self.leaderboard
        return board[~board["strategy"].isin(REFERENCES) & board["area"].notna()]

    @cached_property
    def first_group(self) -> list[Line]:
        """Lines that could be the best on average, the best first."""
        return lines_of(self.ranked[self.ranked["group"] == 1])

    @property
    def again(self) -> bool:
        """Whether the design says anything about other trainings."""
        return bool((self.ranked["group"] > 0).any())

    @cached_property
    def areas(self) -> dict[Line, Point]:
        """Each line's mean over its curves."""
        return {p.line: p for p in self._points(self.differences["rate"].isna())}

    @cached_property
    def points(self) -> list[Point]:
        """Every line at every point of its curves but the baseline's own."""
        return [p for p in self._everywhere if p.line != self.baseline]

    @cached_property
    def _everywhere(self) -> list[Point]:
        return self._points(self.differences["rate"].notna())

    @cached_property
    def complete(self) -> dict[Line, Point]:
        """Each line where nothing is hidden beyond what the record lacks."""
        return {p.line: p for p in self.points if p.rate == 0}

    @cached_property
    def hidden(self) -> list[Point]:
        """Points at which something is hidden."""
        return [p for p in self.points if p.rate > 0]

    def curve(self, line: Line, pattern: str) -> list[Point]:
        """Return a line's points of one pattern, from little missing to much."""
        return sorted((p for p in self.hidden if p.line == line and p.pattern == pattern), key=lambda p: p.rate)

    def best_at(self, point: Point) -> list[Line]:
        """Return the lines that could be the best where a point lies."""
        return [
            p.line for p in self._everywhere if (p.pattern, p.rate) == (point.pattern, point.rate) and p.possible_best
        ]

    def ever_better(self, line: Line) -> bool:
        """Whether it was shown to be better than the baseline anywhere, or on average."""
        area = self.areas.get(line)
        return (area is not None and area.shown == BETTER) or any(
            p.shown == BETTER for p in self.points if p.line == line
        )

    def cost(self, line: Line) -> float:
        """Seconds that tuning and training took."""
        row = self.row(line)
        return float(row["seconds"] + row["tuning_seconds"])

    def row(self, line: Line) -> Any:
        """Return the line's row of the leaderboard."""
        return next(row for _, row in self.ranked.iterrows() if line_of(row) == line)

    def _points(self, which: pd.Series) -> list[Point]:
        frame = self.differences[which]
        columns = (
            "pattern",
            "rate",
            "achieved",
            "difference",
            "difference_low",
            "difference_high",
            "shown",
            "possible_best",
        )
        rows = zip(*(frame[c] for c in columns), strict=True)
        lines = map(Line, frame["strategy"], frame["imputer"], frame["variant"])
        return [Point(line, *row) for line, row in zip(lines, rows, strict=True)]


def fallen(situation: Situation) -> list[Point]:
    """Return, for each line that is behind the baseline only when something is hidden, the point of most missing where it is."""
    found: dict[Line, Point] = {}
    for p in sorted(situation.hidden, key=lambda p: p.rate):
        complete = situation.complete.get(p.line)
        if p.shown == WORSE and (complete is None or complete.shown != WORSE) and p.line in situation.whole:
            found[p.line] = p
    return list(found.values())


def situation_of(plan: RunPlan, tables: Tables, study: Evaluation, doubts: Sequence[str]) -> Situation:
    """Take together what the sentences need of a run."""
    names, compared = study.names, lines_of(tables.differences)
    baseline = baseline_of(study.evaluation.baseline, plan.fits, compared, study.where, study.reads, names)
    everything = set(names)
    return Situation(
        question=plan.benchmark.question.strip(),
        metric=metric_name(study.metric),
        leaderboard=tables.leaderboard,
        differences=tables.differences,
        design=tables.design,
        baseline=baseline,
        controls=controls_of(plan.fits, study.where),
        whole=[line for line in lines_of(tables.leaderboard) if set(study.reads.get(line[:2], names)) >= everything],
        called=plan.called,
        doubts=doubts,
    )
