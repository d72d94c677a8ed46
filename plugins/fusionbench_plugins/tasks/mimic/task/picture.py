"""The picture of a MIMIC tree: funnel, modalities, what was measured, what is suspicious."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fusionbench.report.charts.drawing import COLOURS, save_figure
from fusionbench.report.charts.sheets import SHEET_STYLE

if TYPE_CHECKING:
    from fusionbench_plugins.tasks.mimic.task.overview import Overview

_BLUE, _ORANGE, _GREEN, _PINK = COLOURS[:4]
_LIGHT = "#cccccc"
_SMALLEST = 1e-5  # where the logarithmic axis of shares begins


def draw_data(overview: Overview, paths: Sequence[Path]) -> None:
    """Draw the four panels.

    Args:
        overview: Counts and shares.
        paths: Where to write; the ending decides the format.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    with plt.rc_context(SHEET_STYLE):
        figure, panels = plt.subplots(
            2, 2, figsize=(13, 8.5), layout="constrained", height_ratios=(1, 1.9), width_ratios=(1.25, 1)
        )
        _funnel(panels[0, 0], overview)
        _modalities(panels[0, 1], overview)
        _measured(panels[1, 0], overview)
        _suspicious(panels[1, 1], overview)
        for panel in panels.flat:
            panel.tick_params(left=False)
            panel.grid(axis="x", color="#e5e5e5", linewidth=0.6)
            panel.set_axisbelow(True)
        figure.suptitle(overview.dataset.description, fontsize=10, wrap=True)
        save_figure(figure, paths)
        plt.close(figure)


def _funnel(panel: Any, overview: Overview) -> None:
    steps = overview.dataset.funnel
    counts = [step.rows for step in steps]
    _bars(panel, [step.step for step in steps], counts, _BLUE)
    for i, count in enumerate(counts):
        panel.text(count, i, f" {count:,}", va="center", fontsize=8)
    panel.set_xlim(0, max(counts) * 1.15)
    panel.set_title("stays that each rule leaves", loc="left", fontsize=10)


def _modalities(panel: Any, overview: Overview) -> None:
    data = overview.dataset
    patterns, counts = np.unique(data.available, axis=0, return_counts=True)
    order = np.argsort(-counts)
    names = np.array(list(data.modalities))
    _bars(panel, [" + ".join(names[patterns[i]]) for i in order], counts[order], _GREEN)
    for i, count in enumerate(counts[order]):
        panel.text(count, i, f" {count:,} ({count / len(data):.0%})", va="center", fontsize=8)
    panel.set_xlim(0, counts.max() * 1.3)
    panel.set_title("stays by what they have", loc="left", fontsize=10)


def _measured(panel: Any, overview: Overview) -> None:
    names = list(overview.variables)
    rows = np.arange(len(names))
    stays = [m.stays for m in overview.variables.values()]
    steps = [m.steps for m in overview.variables.values()]
    panel.barh(rows, stays, height=0.8, color=_LIGHT, label="stays with a value")
    panel.barh(rows, steps, height=0.4, color=_BLUE, label="steps with a new value")
    _rows(panel, names)
    panel.set_xlim(0, 1)
    panel.xaxis.set_major_formatter("{x:.0%}")
    panel.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, -0.15), ncols=2)
    panel.set_title("what was measured", loc="left", fontsize=10)


def _suspicious(panel: Any, overview: Overview) -> None:
    names = list(overview.variables)
    rows = np.arange(len(names))
    kinds = (
        ("impossible", "out_of_range", _ORANGE, "o"),
        ("another unit", "other_unit", _PINK, "D"),
        ("clipped", "clipped", _BLUE, "|"),
    )
    for label, field, colour, marker in kinds:
        shares = np.array([getattr(m, field) / max(m.read, 1) for m in overview.variables.values()])
        seen = shares > 0
        panel.scatter(shares[seen], rows[seen], color=colour, marker=marker, s=45, label=label, zorder=3)
    _rows(panel, names)
    panel.set_xscale("log")
    panel.set_xlim(_SMALLEST, 1)
    panel.set_xticks([1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1], ["0.001%", "0.01%", "0.1%", "1%", "10%", "100%"])
    panel.minorticks_off()
    panel.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, -0.15), ncols=3)
    panel.set_title("suspicious values, share of those read (no mark: none)", loc="left", fontsize=10)


def _bars(panel: Any, names: Sequence[str], counts: Any, colour: str) -> None:
    panel.barh(np.arange(len(names)), counts, color=colour, height=0.7)
    _rows(panel, names)
    panel.set_xticks([])


def _rows(panel: Any, names: Sequence[str]) -> None:
    panel.set_yticks(np.arange(len(names)), names, fontsize=8)
    panel.set_ylim(len(names) - 0.4, -0.6)
