"""Curves as differences to the baseline, one small picture for each line; and the raw curves of the baseline among all lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final

import pandas as pd

from fusionbench.analysis.ranking.differences import AREA
from fusionbench.analysis.words import listed, metric_name
from fusionbench.contract.blocks import Picture, Section, Text
from fusionbench.plan.lines import Line, lines_by_row, lines_of
from fusionbench.report.charts import multiples
from fusionbench.report.decision.blocks import LinePicture, Sheet
from fusionbench.report.lines import baseline_line, mark_of, places

if TYPE_CHECKING:
    from fusionbench.records import RunSummary

MOST_PICTURES: Final = 160
"""Small pictures of a page; of more lines, the highest are drawn and the tables hold all."""


class Differences:
    """What a run's small pictures share: lines, patterns, points, limits."""

    def __init__(self, summary: RunSummary, base: Line) -> None:
        self.summary, self.base, self.called = summary, base, summary.plan.called
        found = summary.tables.differences
        self.found = found[found["pattern"] != AREA]
        self.patterns = [str(p) for p in dict.fromkeys(self.found["pattern"])]
        order = places(summary)
        others = sorted((li for li in lines_of(found) if li != base), key=lambda li: order.get(li, len(order)))
        self.others = others
        self.lines = others[: max(8, MOST_PICTURES // max(1, len(self.patterns)))]

    def points(self, line: Line, pattern: str) -> pd.DataFrame:
        """Return the points of a line, with the interval if trained again or, of a single run, of these models."""
        mine = self.found[line.rows_of(self.found) & (self.found["pattern"] == pattern)]
        low = mine["difference_low"].fillna(mine["difference_low_these_models"])
        high = mine["difference_high"].fillna(mine["difference_high_these_models"])
        return mine.assign(low=low, high=high).dropna(subset=["achieved"]).sort_values(["achieved", "rate"])

    @cached_property
    def reaches(self) -> dict[Line, float]:
        """How far each line's bands reach from 0."""
        found = {}
        for line in self.lines:
            points = pd.concat([self.points(line, p) for p in self.patterns])
            found[line] = float(points[["difference", "low", "high"]].abs().max().max())
        return found

    @cached_property
    def limit(self) -> float:
        """How far the common axis reaches."""
        return multiples.shared_limits(list(self.reaches.values()), 2 * self.region)

    @property
    def region(self) -> float:
        """Differences below this are of no practical use."""
        return self.summary.plan.benchmark.evaluation.equivalence

    def picture(self, line: Line, pattern: str) -> LinePicture | None:
        """Return the small picture of a line and a pattern; None: it has no points there."""
        points = self.points(line, pattern)
        if len(points) == 0:
            return None
        name = f"difference-{self.patterns.index(pattern) + 1}-{self.lines.index(line) + 1}"
        about = f"{self.called(line)}, missing: {pattern}"
        svg, words = multiples.difference_panel(points, self.limit, name, about, self.called(self.base), self.region)
        return LinePicture(svg, words, self.called(line), name, multiples.SMALL[0], line=self.called(line))


def difference_curves(summary: RunSummary) -> Section | None:
    """How far each line lies from the baseline as more is missing."""
    base = baseline_line(summary)
    if base is None:
        return None
    drawn = Differences(summary, base)
    if not drawn.lines or drawn.found["rate"].nunique() < 2:
        return None
    parts = [
        Section(f"Missing: {pattern}", [p for line in drawn.lines if (p := drawn.picture(line, pattern)) is not None])
        for pattern in drawn.patterns
    ]
    return Section("Differences as more is missing", [Text(_words(drawn)), _sheet(drawn)], parts)


def _words(drawn: Differences) -> str:
    metric = metric_name(drawn.summary.plan.dataset.metric)
    trained = drawn.found["difference_low"].notna().any()
    kind = "if everything were trained again" if trained else "of these trained models only"
    words = (
        f"{metric} of each line minus that of {drawn.called(drawn.base)} (the line at 0), by the share missing that was "
        f"achieved. The band is the paired interval of the difference, {kind}; grey: too small to matter in practice. "
        "All pictures have one axis."
    )
    far = [drawn.called(line) for line, reach in drawn.reaches.items() if reach > drawn.limit]
    if far:
        words += f" Beyond it, at least in part: {listed(far)}."
    if len(drawn.lines) < len(drawn.others):
        words += f" Drawn are the first {len(drawn.lines)} of {len(drawn.others)} lines; differences.csv holds all."
    return words


def _sheet(drawn: Differences) -> Sheet:
    rows = []
    for line in drawn.lines:
        own = [drawn.points(line, p) for p in drawn.patterns]
        rows.append((drawn.called(line), [points if len(points) else None for points in own]))
    caption = f"Differences to {drawn.called(drawn.base)}."
    found = multiples.sheet(
        rows, drawn.patterns, drawn.limit, drawn.called(drawn.base), mark_of(drawn.summary), caption
    )
    return Sheet(found.svg, found.alt, found.caption, found.name, found.width, found.pdf)


# --------------------------------------------------------------------------------------------
# raw


def raw_pictures(summary: RunSummary, lines: Sequence[Line], prefix: str) -> Iterator[LinePicture]:
    """Yield the raw curves of lines, each with the baseline in grey, on one common axis for the whole page."""
    curves, metric = summary.tables.curves, summary.plan.dataset.metric
    base = baseline_line(summary)
    limits = _raw_limits(summary)
    for n, line in enumerate(lines):
        for p, pattern in enumerate(dict.fromkeys(curves["pattern"])):
            mine = _curve(curves, line, pattern)
            if len(mine) < 2:
                continue
            held = _curve(curves, base, pattern) if base is not None and base != line else None
            about = f"{summary.plan.called(line)}, missing: {pattern}"
            name = f"{prefix}-{n + 1}-{p + 1}"
            svg, words = multiples.raw_panel(mine, held, metric, limits, name, about)
            yield LinePicture(
                svg, words, f"missing: {pattern}", name, multiples.SMALL[0], line=summary.plan.called(line)
            )


def _curve(curves: pd.DataFrame, line: Line, pattern: str) -> pd.DataFrame:
    mine = curves[line.rows_of(curves) & (curves["pattern"] == pattern)]
    return mine.dropna(subset=["achieved"]).sort_values(["achieved", "rate"])


def _raw_limits(summary: RunSummary) -> tuple[float, float]:
    """Of the middle of the lines, so that one bad line does not flatten the others."""
    curves, metric = summary.tables.curves, summary.plan.dataset.metric
    mine = pd.concat([curves[line.rows_of(curves)] for line in places(summary)])
    ends = mine.groupby(["strategy", "imputer"])[metric].agg(["min", "max"])
    low, high = float(ends["min"].quantile(0.2)), float(ends["max"].max())
    room = 0.25 * (high - low) or 0.05
    return low - room, high + room


def raw_words(summary: RunSummary) -> str:
    """Return what stands before raw curves."""
    base = baseline_line(summary)
    held = f"; in grey {summary.plan.called(base)}" if base is not None else ""
    metric = metric_name(summary.plan.dataset.metric)
    return (
        f"{metric} over the share missing that was achieved, with the line's own interval{held}. A curve may leave its picture: "
        "all have one axis. Intervals of two lines may overlap and their difference still hold, because differences are paired."
    )


def range_pictures(summary: RunSummary) -> Iterator[Picture]:
    """Yield, for each pattern, the raw curves of the baseline and of the first line in the range of all lines."""
    curves, metric = summary.tables.curves, summary.plan.dataset.metric
    lines, base = list(places(summary)), baseline_line(summary)
    chosen = list(dict.fromkeys([*([base] if base is not None else []), *lines[:1]]))
    everybody = curves[[line in lines for line in lines_by_row(curves)]]
    for p, pattern in enumerate(dict.fromkeys(everybody["pattern"])):
        mine = everybody[everybody["pattern"] == pattern].dropna(subset=["achieved"])
        grouped = mine.groupby("rate")
        points = pd.DataFrame(
            {"achieved": grouped["achieved"].mean(), "low": grouped[metric].min(), "high": grouped[metric].max()}
        )
        if "ceiling" in mine:
            points["ceiling"] = grouped["ceiling"].mean()
        shown = [(summary.plan.called(line), own) for line in chosen if len(own := _curve(curves, line, pattern)) > 1]
        if shown:
            title = metric_name(metric)
            yield multiples.range_picture(points, shown, pattern, metric, title, f"curves-{p + 1}", mark_of(summary))
