"""The picture of the front page: every strategy in every regime of the demo, from the tables of a run.

    fusionbench run benchmarks/demo.yaml --workspace /tmp/demo
    python tools/demo_picture.py /tmp/demo docs/images/demo.svg

It shows what the decision tables of the six reports show of the mean: the difference to concatenation, whether it was shown,
and who could be the best.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fusionbench.report.decision.table import shade

REGIMES = {
    "lazy": "a fast, weak\nmodality beside a\nslow, strong one",
    "synergy": "only several\nmodalities\ntogether tell",
    "noise": "evidence adds\nup, one modality\nis noise",
    "nothing": "nothing\nto be found\n(a check)",
    "missing": "modalities of a\nhospital stay\ngo missing",
    "absence": "an absence\nthat tells",
}
STRATEGIES = {
    "concat": "Concat, the baseline",
    "sum": "Sum",
    "g_blend": "G-Blend",
    "ogm_ge": "OGM-GE",
    "pmr": "PMR",
    "se_gate": "SE-Gate",
    "medfuse": "MedFuse",
    "dwfuse+tla": "DWFuse with TLA",
    "logistic_regression": "Logistic regression",
}
EQUIVALENCE = 0.005  # evaluation.equivalence, in which the shades of the report count
# the report's colours, from much worse to much better
COLOURS = dict(
    zip(
        range(-4, 5),
        ("#e8944c", "#f5b97a", "#fbdab5", "#fdf0e0", "#ffffff", "#e6f0f9", "#c5ddf1", "#97c3e6", "#5fa3d8"),
        strict=True,
    )
)
ARROWS = {"better": "↑", "worse": "↓"}


def means(workspace: Path, panel: str) -> pd.DataFrame:
    """Return the mean of each line over its curves against the baseline's, with the baseline's own score, by strategy."""
    folder = workspace / "reports" / f"demo-{panel}"
    found = pd.read_csv(folder / "differences.csv")
    found = found[(found["pattern"] == "area") & (found["imputer"] == "zero")].set_index("strategy")
    board = pd.read_csv(folder / "leaderboard.csv")
    own = board[(board["strategy"] == "concat") & (board["imputer"] == "zero")]["area"].iloc[0]
    return found.assign(baseline=own)


def words(row: pd.Series, is_baseline: bool) -> str:
    """Return what a cell says: a difference with its sign, or the baseline's own score; its mark; a dot."""
    number = row["baseline"] if is_baseline else row["difference"]
    said = f"{number:.3f}" if is_baseline or abs(number) < 0.0005 else f"{number:+.3f}"
    said = said.removeprefix("-") if abs(number) < 0.0005 else said
    mark = ARROWS.get(str(row["shown"]), "")
    return said.replace("0.", ".", 1) + mark + (" •" if row["possible_best"] else "")


def draw(workspace: Path, axes: Axes) -> None:
    """Draw the table."""
    for column, (panel, title) in enumerate(REGIMES.items()):
        table = means(workspace, panel)
        axes.text(column + 0.5, -0.15, title, ha="center", va="bottom", fontsize=9)
        for line, strategy in enumerate(STRATEGIES):
            row = table.loc[strategy]
            colour = "#f4f4f4" if line == 0 else COLOURS[shade(row["difference"], EQUIVALENCE) or 0]
            axes.add_patch(mpl.patches.Rectangle((column, line), 1, 1, facecolor=colour, edgecolor="white"))
            bold = "bold" if row["shown"] in ARROWS else "normal"
            axes.text(column + 0.5, line + 0.5, words(row, line == 0), ha="center", va="center", weight=bold)
    for line, title in enumerate(STRATEGIES.values()):
        axes.text(-0.08, line + 0.5, title, ha="right", va="center")
    axes.set(xlim=(-1.65, len(REGIMES)), ylim=(len(STRATEGIES) + 0.9, -1.2))
    axes.axis("off")
    legend = (
        "AUROC, mean over what is missing: difference to Concat (first row: its own value).   "
        "↑ better, ↓ worse: it would hold if everything were trained again\n"
        "(p < .05, corrected).   • could be the best.   Blue: better, orange: worse.   "
        "Synthetic data, defaults, three folds x two seeds: no patient is in it."
    )
    axes.text(-1.65, len(STRATEGIES) + 0.3, legend, va="top", fontsize=8, color="#4d4d4d", linespacing=1.4)


def main(workspace: str, target: str) -> None:
    """Draw the picture of a workspace."""
    mpl.rcParams["svg.hashsalt"] = "fusionbench"
    figure = Figure(figsize=(9.6, 4.4), layout="constrained", facecolor="white")
    draw(Path(workspace), figure.subplots())
    figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    main(*sys.argv[1:])
