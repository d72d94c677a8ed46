"""Small pictures that stand beside each other on common axes, one for each line; and quality against cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fusionbench.analysis.words import signed
from fusionbench.contract.blocks import Picture
from fusionbench.report.charts import drawing
from fusionbench.report.charts.drawing import COLOURS, GREY, GRID, ceiling_look, plain

SMALL = (2.15, 1.45)
"""Inches of one of many."""
MARGINS = {"left": 0.235, "right": 0.975, "top": 0.95, "bottom": 0.27}
LINE, BAND = COLOURS[0], 0.18
FAR = 1.5
"""Lines that reach so many times further than the middle one may leave the picture."""
ROOM = 1.12

Limits = tuple[float, float]


def signed_tick(value: float, _place: Any = None) -> str:
    """``+.02``, ``0``, ``-.1``: what stands at an axis of differences."""
    text = f"{value:+.3f}".rstrip("0").rstrip(".").replace("+0.", "+.").replace("-0.", "-.")
    return "0" if text in ("+0", "-0") else text


def shared_limits(reaches: Sequence[float], least: float) -> float:
    """Return how far a common axis reaches to both sides of 0.

    The farthest line decides, unless it lies far beyond the middle one: an axis for it would flatten all others.

    Args:
        reaches: The largest size of each line's differences, with their intervals.
        least: Never nearer than this.
    """
    known = [r for r in reaches if np.isfinite(r)]
    if not known:
        return least
    return ROOM * max(least, min(max(known), FAR * float(np.median(known))))


def difference_panel(
    points: pd.DataFrame, limit: float, name: str, about: str, base: str, region: float
) -> tuple[str, str]:
    """Draw one line's differences over the share missing; return the drawing and what it says in words.

    Args:
        points: ``achieved``, ``difference`` and its ends, in order.
        limit: Of the common axis.
        name: Prefix of what the drawing names inside.
        about: Line and pattern, in words.
        base: What it is compared with, in words.
        region: Differences below this are of no practical use.
    """

    def fill(panel: Any) -> None:
        x = points["achieved"] * 100
        panel.axhspan(-region, region, color="#888888", alpha=0.16, linewidth=0)
        panel.axhline(0, color=GREY, linewidth=0.9)
        panel.fill_between(x, points["low"], points["high"], color=LINE, alpha=BAND, linewidth=0)
        panel.plot(x, points["difference"], color=LINE, linewidth=1.5, marker="o", markersize=3.2)
        panel.set_ylim(-limit, limit)
        _say_if_it_left(panel, points["difference"], limit)
        _small(panel)
        panel.yaxis.set_major_formatter(signed_tick)

    first, last = points.iloc[0], points.iloc[-1]
    words = (
        f"{about}: difference to {base} from {first['difference']:+.3f} at {100 * first['achieved']:.0f} to "
        f"{last['difference']:+.3f} at {100 * last['achieved']:.0f} percent missing. All numbers are in differences.csv."
    )
    return _drawn(name, fill), words


def _say_if_it_left(panel: Any, differences: pd.Series, limit: float) -> None:
    """A panel whose line lies beyond the common axis would look empty."""
    if (differences.abs() <= limit).any():
        return
    low, high = signed(differences.min()), signed(differences.max())
    place = 0.12 if differences.mean() < 0 else 0.78
    panel.text(0.5, place, f"{high} to {low}", transform=panel.transAxes, ha="center", fontsize=8, color=LINE)


def raw_panel(
    line: pd.DataFrame, base: pd.DataFrame | None, metric: str, limits: Limits, name: str, about: str
) -> tuple[str, str]:
    """Draw one line's curve with its interval, the baseline's in grey, the ceiling dotted where it is known."""

    def fill(panel: Any) -> None:
        if "ceiling" in line:
            panel.plot(line["achieved"] * 100, line["ceiling"], **ceiling_look())
        if base is not None:
            panel.plot(base["achieved"] * 100, base[metric], color=GREY, linewidth=1.2, linestyle=(0, (4, 2)))
        x = line["achieved"] * 100
        panel.fill_between(x, line[f"{metric}_low"], line[f"{metric}_high"], color=LINE, alpha=BAND, linewidth=0)
        panel.plot(x, line[metric], color=LINE, linewidth=1.5, marker="o", markersize=3.2)
        panel.set_ylim(*limits)
        _small(panel)

    first, last = line.iloc[0], line.iloc[-1]
    words = f"{about}: from {first[metric]:.3f} to {last[metric]:.3f} at {100 * last['achieved']:.0f} percent missing."
    return _drawn(name, fill), words


def _drawn(name: str, fill: Callable[[Any], None]) -> str:
    return drawing.lean(drawing.draw(name, SMALL, fill, "", "", pdf=False, margins=MARGINS).svg)


def _small(panel: Any) -> None:
    panel.grid(axis="y", color=GRID, linewidth=0.5)
    panel.tick_params(labelsize=7.5, length=2)
    panel.locator_params(axis="x", nbins=4)
    panel.locator_params(axis="y", nbins=5)
    panel.set_xlabel("achieved missing, percent", fontsize=7.5, labelpad=1.5)
    panel.margins(x=0.03)


def sheet(
    rows: Sequence[tuple[str, Sequence[pd.DataFrame | None]]],
    patterns: Sequence[str],
    limit: float,
    base: str,
    mark: str,
    caption: str,
) -> Picture:
    """Draw all differences on one sheet for papers: a row for each line, a column for each pattern."""

    def fill(panels: Any) -> None:
        for own, (name, found) in zip(panels, rows, strict=True):
            for panel, points in zip(own, found, strict=True):
                panel.axhline(0, color=GREY, linewidth=0.9)
                panel.set_ylim(-limit, limit)
                panel.yaxis.set_major_formatter(signed_tick)
                panel.tick_params(labelsize=7)
                if points is not None:
                    x = points["achieved"] * 100
                    panel.fill_between(x, points["low"], points["high"], color=LINE, alpha=BAND, linewidth=0)
                    panel.plot(x, points["difference"], color=LINE, linewidth=1.3, marker="o", markersize=2.6)
            own[0].set_ylabel(plain(name), fontsize=7, rotation=0, ha="right", va="center")
        for panel, pattern in zip(panels[0], patterns, strict=True):
            panel.set_title(plain(f"missing: {pattern}"), fontsize=8)
        for panel in panels[-1]:
            panel.set_xlabel("achieved, percent", fontsize=7)

    names = 0.5 + 0.058 * max(len(name) for name, _ in rows)  # inches
    width, height = names + 1.7 * len(patterns), 0.9 + 0.8 * len(rows)
    size = (width, height)
    margins = {"left": names / width, "right": 0.99, "top": 1 - 0.45 / height, "bottom": 0.4 / height}
    alt, shape = f"Differences of {len(rows)} lines to {base}.", (len(rows), len(patterns))
    return drawing.draw("curves-as-differences", size, fill, alt, caption, mark, panels=shape, margins=margins)


def range_picture(
    points: pd.DataFrame,
    shown: Sequence[tuple[str, pd.DataFrame]],
    pattern: str,
    metric: str,
    title: str,
    name: str,
    mark: str,
) -> Picture:
    """Draw a few raw curves in the range of all.

    Args:
        points: One row for each point: ``achieved``, ``low`` and ``high`` over all lines, and ``ceiling`` where it is known.
        shown: The few, with their names: ``achieved``, the metric and its interval.
        pattern: What is missing.
        metric: Column of the score.
        title: Its name.
        name: File name.
        mark: See :func:`fusionbench.report.charts.drawing.draw`.
    """

    def fill(panel: Any) -> None:
        x = points["achieved"] * 100
        panel.fill_between(
            x, points["low"], points["high"], color="#888888", alpha=0.18, linewidth=0, label="all lines"
        )
        for i, (line, own) in enumerate(shown):
            at, style = own["achieved"] * 100, drawing.look(i)
            panel.fill_between(
                at, own[f"{metric}_low"], own[f"{metric}_high"], color=style["color"], alpha=0.12, linewidth=0
            )
            panel.plot(at, own[metric], linewidth=1.6, markersize=4.5, label=plain(line), gid=f"arm{i}", **style)
        low = min(own[f"{metric}_low"].min() for _, own in shown)
        high = max(own[f"{metric}_high"].max() for _, own in shown)
        if "ceiling" in points:
            high = max(high, points["ceiling"].max())
            panel.plot(x, points["ceiling"], label="ceiling: the best possible", gid="ceiling", **ceiling_look())
        room = 0.06 * (high - low) or 0.01
        panel.set_ylim(low - room, high + room)
        panel.set_xlabel(f"missing: {plain(pattern)}, achieved percent")
        panel.set_ylabel(title)
        panel.grid(axis="y", color=GRID, linewidth=0.6)
        panel.legend(frameon=False, fontsize=7.5, loc="best")

    said = "; ".join(f"{line} from {own[metric].iloc[0]:.3f} to {own[metric].iloc[-1]:.3f}" for line, own in shown)
    alt = f"{title} as {pattern} goes missing: {said}. All numbers are in the tables below."
    return drawing.draw(name, (drawing.WIDTH, 3.2), fill, alt, f"Missing: {pattern}.", mark)


class Worth(NamedTuple):
    """A line's cost, as a multiple of the baseline's, and its mean difference with its interval."""

    name: str
    cost: float
    difference: float
    low: float
    high: float


def cost_picture(
    worth: Sequence[Worth], best: Sequence[Worth], metric: str, base: str, caption: str, mark: str
) -> Picture:
    """Draw quality against cost; the best of both are joined, and named."""
    limit = shared_limits([max(abs(w.difference), *_known(w)) for w in worth], 1e-3)

    def fill(panel: Any) -> None:
        panel.set_xscale("log")
        panel.axhline(0, color=GREY, linewidth=0.9)
        for one in worth:
            colour = drawing.look(list(best).index(one))["color"] if one in best else GREY
            if one.low == one.low:  # not NaN
                panel.plot([one.cost] * 2, [one.low, one.high], color=colour, linewidth=0.8, alpha=0.6)
            if one not in best:
                look = {"marker": "x", "markersize": 7} if one.name == base else {"marker": "s", "markersize": 3.5}
                label = f"{plain(one.name)}, the baseline" if one.name == base else None
                panel.plot([one.cost], [one.difference], linestyle="none", color=GREY, label=label, **look)
        panel.plot(
            [w.cost for w in best], [w.difference for w in best], color=GREY, linewidth=1.1, drawstyle="steps-post"
        )
        for i, one in enumerate(best):
            style = {k: v for k, v in drawing.look(i).items() if k != "linestyle"}
            panel.plot([one.cost], [one.difference], linestyle="none", markersize=7, label=plain(one.name), **style)
        panel.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
        panel.set_ylim(-limit, limit)
        panel.set_xlabel(f"seconds of tuning and training, times those of {plain(base)}")
        panel.set_ylabel(f"{metric}, mean difference")
        panel.xaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_major_formatter(signed_tick)
        panel.grid(color=GRID, linewidth=0.5)

    said = "; ".join(f"{w.name} {w.difference:+.3f} at {w.cost:.1f} times" for w in worth)
    return drawing.draw("cost", (6.2, 3.1), fill, f"Mean difference and time of training: {said}.", caption, mark)


def _known(one: Worth) -> list[float]:
    return [abs(v) for v in (one.low, one.high) if v == v]  # noqa: PLR0124 - NaN
