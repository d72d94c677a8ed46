"""Pictures of a run."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusionbench.analysis import CEILING
from fusionbench.results import write_atomically

if TYPE_CHECKING:
    import pandas as pd

    from fusionbench.runner import RunSummary

# Okabe and Ito's palette: told apart by colour-blind readers; markers and dashes repeat the difference in print
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)))
MOST_BANDS = 8  # more intervals than that hide each other; they are in curves.csv
NAMES = {"auroc": "AUROC", "auprc": "AUPRC", "brier": "Brier score"}


def draw_curves(summary: RunSummary, paths: Sequence[Path]) -> None:
    """Draw the metric over the missing rate, one panel for each pattern, one line for each arm.

    Args:
        summary: A finished run with at least one curve.
        paths: Where to write; the ending decides the format.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    curves, metric = summary.tables.curves, summary.plan.dataset.metric
    patterns = list(dict.fromkeys(curves["pattern"]))
    lines = list(dict.fromkeys(zip(curves["strategy"], curves["imputer"], curves["variant"], strict=True)))
    with plt.rc_context(
        {"svg.hashsalt": "fusionbench", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
    ):
        rows = -(-len(patterns) // 3)
        columns = min(len(patterns), 3)
        figure, axes = plt.subplots(
            rows,
            columns,
            figsize=(4.6 * columns + 2.4, 3.8 * rows + 0.6),
            sharey=True,
            squeeze=False,
            layout="constrained",
        )
        for panel, pattern in zip(axes.flat, patterns, strict=False):
            _panel(panel, curves[curves["pattern"] == pattern], lines, metric)
            panel.set_title(f"missing: {pattern}")
        for panel in axes.flat[len(patterns) :]:
            panel.set_visible(False)
        for row in axes:
            row[0].set_ylabel(NAMES.get(metric, metric))
        handles, labels = axes.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right upper", frameon=False, handlelength=3.5)
        title = f"{summary.plan.benchmark.name}: {NAMES.get(metric, metric)} as modalities go missing"
        figure.suptitle("\n".join([title, *summary.plan.ribbons]), fontsize=11)
        for path in paths:
            buffer = io.BytesIO()
            figure.savefig(
                buffer, format=path.suffix[1:], dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None
            )
            write_atomically(path, buffer.getvalue())
        plt.close(figure)


def _panel(panel: Any, curves: pd.DataFrame, lines: Sequence[tuple[str, str, str]], metric: str) -> None:
    drawn = [line for line in lines if line[0] != CEILING]
    for i, line in enumerate(drawn):
        mine = _of(curves, line)
        style = {
            "color": COLOURS[i % 8],
            "marker": MARKERS[(i + 3 * (i // 8)) % 8],
            "linestyle": DASHES[i // 8 % 4],
            "markersize": 4.5,
        }
        panel.plot(mine["rate"] * 100, mine[metric], label=_label(line), linewidth=1.6, **style)
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
    panel.set_xlabel("missing rate, percent")
    panel.grid(axis="y", color="#dddddd", linewidth=0.6)


def _label(line: tuple[str, str, str]) -> str:
    # matplotlib reads dollars as mathematics, and leaves out what begins with an underscore
    text = " / ".join(part for part in line if part).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def _of(curves: pd.DataFrame, line: tuple[str, str, str]) -> pd.DataFrame:
    return curves[(curves["strategy"] == line[0]) & (curves["imputer"] == line[1]) & (curves["variant"] == line[2])]
