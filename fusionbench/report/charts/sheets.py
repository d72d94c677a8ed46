"""Pictures that lie beside the tables: all patterns on one sheet, and the ranking beside what was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusionbench.analysis.words import metric_name
from fusionbench.config.sections import CEILING, REFERENCES
from fusionbench.plan.lines import Line, lines_of
from fusionbench.report.charts.drawing import COLOURS, MARKERS, save_figure
from fusionbench.report.charts.multiples import shared_limits
from fusionbench.report.lines import ranked_board

if TYPE_CHECKING:
    import pandas as pd

    from fusionbench.records import RunSummary

SHEET_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)))
MOST_BANDS = 8  # more intervals than that hide each other; they are in curves.csv
TRACES_A_ROW = 4
SHEET_STYLE: Any = {
    "svg.hashsalt": "fusionbench",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw_curves(summary: RunSummary, paths: Sequence[Path]) -> None:
    """Draw the metric over the missing rate, one panel for each pattern, one line for each arm.

    Many lines lie on one another on the axis of the metric: then differences to the baseline are drawn, where there are any.

    Args:
        summary: A finished run with at least one curve.
        paths: Where to write; the ending decides the format.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    curves, metric = summary.tables.curves, summary.plan.dataset.metric
    patterns = list(dict.fromkeys(curves["pattern"]))
    lines = lines_of(curves)
    with mpl.rc_context(SHEET_STYLE):
        rows = -(-len(patterns) // 3)
        columns = min(len(patterns), 3)
        figure = Figure(figsize=(4.6 * columns + 2.4, 3.8 * rows + 0.6), layout="constrained")
        axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
        crowded = _many(lines) and len(summary.tables.differences) > 0
        for panel, pattern in zip(axes.flat, patterns, strict=False):
            if crowded:
                _differences(panel, summary.tables.differences, pattern)
            else:
                _panel(panel, curves[curves["pattern"] == pattern], lines, metric)
            panel.set_title(f"missing: {pattern}")
        for panel in axes.flat[len(patterns) :]:
            panel.set_visible(False)
        for row in axes:
            row[0].set_ylabel(f"{metric_name(metric)}{': difference to the baseline' if crowded else ''}")
        handles, labels = axes.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right upper", frameon=False, handlelength=3.5)
        title = f"{summary.plan.benchmark.name}: {metric_name(metric)} as modalities go missing"
        figure.suptitle("\n".join([title, *summary.plan.ribbons]), fontsize=11)
        save_figure(figure, paths)


def draw_traces(summary: RunSummary, paths: Sequence[Path]) -> None:
    """Draw the ranking, and beside it what was recorded over the epochs.

    One panel for each strategy and kind of trace; a thin line for each model, a thick one for their mean.

    Args:
        summary: A finished run with traces, and at least one curve.
        paths: Where to write; the ending decides the format.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    traces, ranked = summary.traces, ranked_board(summary)
    panels = list(dict.fromkeys(zip(traces["strategy"], traces["imputer"], traces["what"], strict=True)))
    several = traces["imputer"].nunique() > 1
    modalities = list(summary.plan.dataset.modalities)
    which = [*modalities, *sorted(set(traces["which"]) - set(modalities))]
    rows = max(2, -(-len(panels) // TRACES_A_ROW)) if len(panels) > 1 else 1
    columns = -(-len(panels) // rows)
    with mpl.rc_context(SHEET_STYLE):
        height = max(2.4 * rows, 0.22 * len(ranked)) + 0.9
        figure = Figure(figsize=(4.6 + 2.5 * columns, height), layout="constrained")
        grid = figure.add_gridspec(rows, columns + 1, width_ratios=[1.5] + [1] * columns)
        _ranking(figure.add_subplot(grid[:, 0]), ranked, summary.plan.dataset.metric)
        for i, (strategy, imputer, what) in enumerate(panels):
            panel = figure.add_subplot(grid[i // columns, 1 + i % columns])
            mine = Line(strategy, imputer).rows_of(traces) & (traces["what"] == what)
            _courses(panel, traces[mine], which)
            panel.set_title(_label((strategy, imputer if several else "", what)), fontsize=9)
            if i + columns >= len(panels):
                panel.set_xlabel("epoch")
        lines = [Line2D([], [], label=_label((name,)), linewidth=2, **_style(i)) for i, name in enumerate(which)]
        figure.legend(handles=lines, loc="outside lower right", ncols=len(lines), frameon=False, handlelength=3)
        title = f"{summary.plan.benchmark.name}: ranking, and what was recorded over epochs"
        figure.suptitle("\n".join([title, *summary.plan.ribbons]), fontsize=11)
        save_figure(figure, paths)


def _ranking(panel: Any, ranked: pd.DataFrame, metric: str) -> None:
    """Areas with intervals, the best on top."""
    places = range(len(ranked))
    # a percentile may leave its point by rounding, and a bar has no negative length
    ends = [(ranked["area"] - ranked["area_low"]).clip(lower=0), (ranked["area_high"] - ranked["area"]).clip(lower=0)]
    panel.errorbar(ranked["area"], places, xerr=ends, fmt="o", color="#000000", markersize=4, elinewidth=1.2)
    names = ["strategy", "imputer"] if ranked["imputer"].nunique() > 1 else ["strategy"]
    panel.set_yticks(places, [_label(line) for line in ranked[names].to_numpy().tolist()], fontsize=8)
    panel.invert_yaxis()
    panel.set_xlabel(f"{metric_name(metric)}, 95 % interval")
    panel.grid(axis="x", color="#dddddd", linewidth=0.6)


def _courses(panel: Any, traces: pd.DataFrame, which: Sequence[str]) -> None:
    for i, name in enumerate(which):
        mine = traces[traces["which"] == name]
        if len(mine) == 0:
            continue
        for _, one in mine.groupby(["trained_at", "fold", "seed"]):
            panel.plot(one["epoch"], one["value"], color=COLOURS[i % 8], linewidth=0.5, alpha=0.35)
        mean = mine.groupby("epoch")["value"].mean()  # over the models that are still trained
        panel.plot(mean.index, mean, linewidth=2, **_style(i))
    panel.grid(axis="y", color="#dddddd", linewidth=0.6)
    panel.tick_params(labelsize=8)


def _style(line: int) -> dict[str, Any]:
    return {"color": COLOURS[line % 8], "linestyle": SHEET_DASHES[line % 4]}


def _many(lines: Sequence[Line]) -> bool:
    return sum(line.strategy not in REFERENCES for line in lines) > MOST_BANDS


def _differences(panel: Any, found: pd.DataFrame, pattern: str) -> None:
    """All lines on an axis that the middle of them decides; one far from all others leaves it."""
    points = found[found["rate"].notna()]
    lines = lines_of(points)
    limit = shared_limits([float(points[li.rows_of(points)]["difference"].abs().max()) for li in lines], 1e-3)
    for i, line in enumerate(lines):
        mine = points[line.rows_of(points) & (points["pattern"] == pattern)].sort_values(["achieved", "rate"])
        panel.plot(mine["achieved"] * 100, mine["difference"], label=_label(line[:2]), linewidth=1.5, **_look(i))
    panel.set_ylim(-limit, limit)
    panel.set_xlabel("achieved missing, percent")
    panel.grid(axis="y", color="#dddddd", linewidth=0.6)


def _look(line: int) -> dict[str, Any]:
    """Colour, marker and dashes of one of many lines."""
    return {
        "color": COLOURS[line % 8],
        "marker": MARKERS[(line + 3 * (line // 8)) % 8],
        "linestyle": SHEET_DASHES[line // 8 % 4],
        "markersize": 4.5,
    }


def _panel(panel: Any, curves: pd.DataFrame, lines: Sequence[Line], metric: str) -> None:
    drawn = [line for line in lines if line.strategy not in REFERENCES]
    for i, line in enumerate(drawn):
        mine = curves[line.rows_of(curves)]
        panel.plot(mine["rate"] * 100, mine[metric], label=_label(line), linewidth=1.6, **_look(i))
        if len(drawn) > MOST_BANDS:
            continue
        panel.fill_between(
            mine["rate"] * 100,
            mine[f"{metric}_low"],
            mine[f"{metric}_high"],
            color=COLOURS[i % 8],
            alpha=0.10,
            linewidth=0,
        )
    ceiling = curves[curves["strategy"] == CEILING]
    if len(ceiling):
        panel.plot(
            ceiling["rate"] * 100, ceiling[metric], color="#444444", linestyle=":", linewidth=1.8, label="ceiling"
        )
    panel.set_xlabel("nominal missing rate, percent")
    panel.grid(axis="y", color="#dddddd", linewidth=0.6)


def _label(line: Sequence[str]) -> str:
    # matplotlib reads dollars as mathematics, and leaves out what begins with an underscore
    text = " / ".join(part for part in line if part).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text
