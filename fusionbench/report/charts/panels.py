"""The pictures of a report: small, one question each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from fusionbench.analysis.embedding_maps import REACH
from fusionbench.analysis.words import metric_name, number, percent
from fusionbench.contract.blocks import Picture
from fusionbench.report.charts import drawing
from fusionbench.report.charts.drawing import COLOURS, GREY, GRID, WIDTH, look, plain
from fusionbench.report.charts.multiples import shared_limits

# --------------------------------------------------------------------------------------------
# dots with intervals


def _ends(values: pd.DataFrame, name: str) -> list[pd.Series]:
    """How far an interval reaches below and above its value; percentiles may leave the value just outside."""
    below, above = values[name] - values[f"{name}_low"], values[f"{name}_high"] - values[name]
    return [below.clip(lower=0), above.clip(lower=0)]


def forest_picture(
    names: Sequence[str], values: pd.DataFrame, groups: Sequence[int], metric: str, caption: str, mark: str
) -> Picture:
    """Draw the ranking: a value with its interval for each arm, the best on top; the look is the group's.

    Args:
        names: Of the arms, from best to worst.
        values: Columns ``area``, ``area_low``, ``area_high``, in the same order.
        groups: Tie group of each.
        metric: Of the axis.
        caption: Below it.
        mark: See :func:`draw`.
    """
    limits = _around_the_middle(values)

    def fill(panel: Any) -> None:
        for group in sorted(set(groups)):
            places = [i for i, g in enumerate(groups) if g == group]
            mine = values.iloc[places]
            ends = _ends(mine, "area")
            style = {k: v for k, v in look(group - 1).items() if k != "linestyle"}
            for place in places:
                _say_if_beyond(panel, float(values["area"].iloc[place]), place, limits)
            panel.errorbar(
                mine["area"], places, xerr=ends, fmt="none", ecolor=style["color"], elinewidth=1.2, capsize=2
            )
            panel.plot(mine["area"], places, linestyle="none", markersize=5.5, label=f"group {group}", **style)
        _named_rows(panel, names)
        panel.set_xlim(*limits)
        panel.set_xlabel(f"{metric_name(metric)}, mean height of the curves")
        panel.legend(title="group 1: could be the best", frameon=False, fontsize=8, title_fontsize=8, loc="best")

    alt = f"Areas with intervals, from {names[0]} ({values['area'].iloc[0]:.3f}) to {names[-1]} ({values['area'].iloc[-1]:.3f}). "
    return drawing.draw(
        "ranking", (WIDTH, 0.23 * len(names) + 0.9), fill, f"{alt}The numbers are in the leaderboard.", caption, mark
    )


def _around_the_middle(values: pd.DataFrame) -> tuple[float, float]:
    """Limits that keep apart what lies close together: a line far from all others leaves the picture, and says where it is."""
    middle = float(values["area"].median())
    ends = values[["area", "area_low", "area_high"]]
    reach = shared_limits((ends - middle).abs().max(axis=1).tolist(), 1e-3)
    low, high = float(ends.min().min()), float(ends.max().max())
    room = 0.04 * (high - low) or 0.01
    return max(middle - reach, low - room), min(middle + reach, high + room)


def _say_if_beyond(panel: Any, value: float, place: int, limits: tuple[float, float]) -> None:
    low, high = limits
    if not low <= value <= high:
        side = {"x": 0.01, "ha": "left"} if value < low else {"x": 0.99, "ha": "right"}
        arrow = f"< {number(value)}" if value < low else f"{number(value)} >"
        panel.text(y=place, s=arrow, va="center", fontsize=7.5, transform=panel.get_yaxis_transform(), **side)


def modality_picture(
    table: pd.DataFrame, what: str, axis: str, names: Sequence[str], name: str, caption: str, mark: str
) -> Picture:
    """Draw a number of each modality for each arm, with intervals and a line at 0.

    Args:
        table: Columns ``place`` (position of the arm), ``modality``, ``<what>`` with ``_low`` and ``_high``.
        what: ``shapley`` or ``laziness``.
        axis: Its label.
        names: Of the arms.
        name: File name.
        caption: Below it.
        mark: See :func:`draw`.
    """
    modalities = list(dict.fromkeys(table["modality"]))

    def fill(panel: Any) -> None:
        panel.axvline(0, color=GREY, linewidth=0.8)
        for i, modality in enumerate(modalities):
            mine = table[(table["modality"] == modality) & table[what].notna()]
            style = {k: v for k, v in look(i).items() if k != "linestyle"}
            y = mine["place"] + (i - (len(modalities) - 1) / 2) * 0.24
            ends = _ends(mine, what)
            panel.errorbar(mine[what], y, xerr=ends, fmt="none", ecolor=style["color"], elinewidth=0.9)
            panel.plot(mine[what], y, linestyle="none", markersize=4.5, label=modality, **style)
        _named_rows(panel, names)
        panel.set_xlabel(axis)
        panel.legend(frameon=False, fontsize=8, ncols=len(modalities), loc="lower center", bbox_to_anchor=(0.4, 1.0))

    alt = f"{axis} of {', '.join(modalities)} for {len(names)} lines; the numbers are in the table below."
    return drawing.draw(name, (WIDTH, 0.3 * len(names) + 1.0), fill, alt, caption, mark)


def _named_rows(panel: Any, names: Sequence[str]) -> None:
    panel.set_yticks(range(len(names)), [plain(n) for n in names], fontsize=8)
    panel.set_ylim(len(names) - 0.4, -0.6)
    panel.grid(axis="x", color=GRID, linewidth=0.6)


# --------------------------------------------------------------------------------------------
# calibration, ranks


def calibration_picture(table: pd.DataFrame, title: str, place: int, name: str, caption: str, mark: str) -> Picture:
    """Draw one arm's reliability diagram; a larger dot stands for more predictions, a dotted line for raw ones."""
    raw, table = table[table["raw"]], table[~table["raw"]]

    def fill(panel: Any) -> None:
        panel.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, linestyle="--")
        panel.plot(raw["predicted"], raw["observed"], linewidth=0.9, linestyle=":", color=look(place)["color"])
        panel.plot(table["predicted"], table["observed"], linewidth=1.4, color=look(place)["color"])
        sizes = 8 + 90 * table["predictions"] / table["predictions"].max()
        panel.scatter(table["predicted"], table["observed"], s=sizes, color=look(place)["color"], zorder=3)
        panel.set_xlim(0, 1)
        panel.set_ylim(0, 1)
        panel.set_aspect("equal")
        panel.set_title(plain(title), fontsize=9)
        panel.set_xlabel("predicted")
        panel.set_ylabel("observed")
        panel.grid(color=GRID, linewidth=0.6)

    def points(of: pd.DataFrame) -> str:
        return "; ".join(f"{r['predicted']:.2f} and {r['observed']:.2f}" for _, r in of.iterrows()) or "none"

    words = (
        f"Predicted and observed share for {title}, bin by bin: {points(table)}. Before recalibration: {points(raw)}."
    )
    return drawing.draw(name, (2.7, 2.8), fill, words, caption, mark)


def difference_picture(
    names: Sequence[str], found: pd.DataFrame, equivalence: float, caption: str, mark: str
) -> Picture:
    """Draw how far every line lies from the first, with intervals, around the region of practical equivalence.

    Args:
        names: Of the other lines, from the best.
        found: Their rows of the table of pairs: ``difference`` (first minus other) with ``low`` and ``high``.
        equivalence: Half width of the shaded region.
        caption: Below it.
        mark: See :func:`draw`.
    """

    def fill(panel: Any) -> None:
        panel.axvspan(-equivalence, equivalence, color="#eeeeee", zorder=0)
        panel.axvline(0, color=GRID, linewidth=1)
        for place, (_, row) in enumerate(found.iterrows()):
            panel.plot([-row["high"], -row["low"]], [place, place], color=COLOURS[0], linewidth=1.4)
            panel.plot([-row["difference"]], [place], color=COLOURS[0], marker="o", markersize=5)
        _named_rows(panel, names)
        panel.set_xlabel("difference to the first line")

    apart = [n for n, low, high in zip(names, found["low"], found["high"], strict=True) if low > 0 or high < 0]
    alt = f"Differences of {len(names)} lines to the first. Intervals without 0: {', '.join(apart) or 'none'}."
    return drawing.draw("differences", (WIDTH, 0.23 * len(names) + 0.8), fill, alt, caption, mark)


def trace_picture(traces: pd.DataFrame, title: str, which: Sequence[str], name: str, mark: str) -> Picture:
    """Draw what a strategy recorded over epochs: the mean over its models for each modality or part."""

    def fill(panel: Any) -> None:
        for i, one in enumerate(which):
            mine = traces[traces["which"] == one].groupby("epoch")["value"].mean()
            if len(mine):
                style = {**look(i), "marker": None}
                panel.plot(mine.index, mine, linewidth=1.6, gid=f"arm{i}", label=plain(one or "all"), **style)
        panel.set_title(plain(title), fontsize=9)
        panel.set_xlabel("epoch")
        panel.grid(axis="y", color=GRID, linewidth=0.6)
        panel.legend(frameon=False, fontsize=8)

    said = f"{title} over {int(traces['epoch'].max())} epochs, means over models, for {', '.join(w or 'all' for w in which)}."
    return drawing.draw(name, (3.4, 2.6), fill, said, title, mark)


def tuning_picture(courses: Mapping[int, pd.Series], arms: Sequence[str], mark: str) -> Picture:
    """Draw the best validation score so far over the trials, a line for each arm.

    Args:
        courses: By place among the arms: the score, indexed by the number of the trial.
        arms: Their names.
        mark: See :func:`draw`.
    """

    def fill(panel: Any) -> None:
        for place, course in courses.items():
            every = max(1, len(course) // 6)
            style = look(place)
            panel.plot(course.index, course, linewidth=1.5, markersize=4.5, markevery=every, gid=f"arm{place}", **style)
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.set_xlabel("trial (0: the defaults)")
        panel.set_ylabel("best validation score so far")
        panel.grid(axis="y", color=GRID, linewidth=0.6)

    said = "; ".join(f"{arms[i]} from {c.iloc[0]:.3f} to {c.iloc[-1]:.3f}" for i, c in courses.items())
    alt = f"Best validation score so far over the trials of tuning: {said}. The numbers are in the table below."
    return drawing.draw("tuning", (WIDTH, 2.8), fill, alt, "Means over the studies of each line.", mark)


# --------------------------------------------------------------------------------------------
# imputation


def imputation_picture(
    courses: Mapping[int, pd.Series], arms: Sequence[str], modality: str, name: str, caption: str, mark: str
) -> Picture:
    """Draw the relative error of imputed embeddings of one modality over epochs, a line for each arm.

    Args:
        courses: By place among the arms: the error, indexed by epoch.
        arms: Their names.
        modality: Its name.
        name: File name.
        caption: Below it.
        mark: See :func:`draw`.
    """
    found = pd.concat(courses.values())

    def fill(panel: Any) -> None:
        panel.axhline(1, color=GREY, linewidth=1, linestyle=(0, (1, 2)), gid="mean-embedding")
        for place, course in courses.items():
            every = max(1, len(course) // 6)
            panel.plot(
                course.index, course, linewidth=1.5, markersize=4.5, markevery=every, gid=f"arm{place}", **look(place)
            )
        if max(found.max(), 1) > 10 * max(min(found.min(), 1), 0.01):
            panel.set_yscale("log")
            panel.yaxis.set_major_formatter("{x:g}")
        else:
            panel.set_ylim(bottom=0)
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.set_title(plain(f"hidden: {modality}"), fontsize=9)
        panel.set_xlabel("epoch")
        panel.set_ylabel("relative error")
        panel.grid(axis="y", color=GRID, linewidth=0.6)

    said = "; ".join(f"{arms[i]} from {c.iloc[0]:.2f} to {c.iloc[-1]:.2f}" for i, c in courses.items())
    alt = f"Relative error of imputed embeddings of {modality} over epochs: {said}. The numbers are in the table below."
    return drawing.draw(name, (2.95, 2.8), fill, alt, caption, mark)


def map_picture(cells: pd.DataFrame, rows: int, alt: str, name: str, caption: str, mark: str) -> Picture:
    """Draw how many rows lie where: true embeddings on the left, imputed ones on the right, one scale for both.

    Args:
        cells: Columns ``which``, ``first``, ``second``, ``width``, ``rows``: those that are shown.
        rows: All rows, shown or not.
        alt: In words.
        name: File name.
        caption: Below it.
        mark: See :func:`draw`.
    """
    # the darkest is the densest of the true cells: where every row gets nearly the same, the other panel would fade this one
    densest = max(cells[cells["which"] == "true"]["rows"].max(), 1) / rows

    def fill(panels: Any) -> None:
        for panel, which in zip(panels, ("true", "imputed"), strict=True):
            mine = cells[cells["which"] == which]
            _density(panel, mine, rows, densest)
            away = percent(round(1 - mine["rows"].sum() / rows, 2))
            panel.set_title(f"{which} ({away} not shown)", fontsize=9)
            panel.set_xlabel("first component")
        panels[0].set_ylabel("second component")

    return drawing.draw(name, (WIDTH, 2.7), fill, alt, caption, mark, panels=2)


def _density(panel: Any, cells: pd.DataFrame, rows: int, densest: float) -> None:
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    shades = colormaps["Blues"]  # from light to dark: it stays in order in grey and for every kind of colour blindness
    for x, y, width, count in cells[["first", "second", "width", "rows"]].to_numpy():
        share = min(count / rows / densest, 1) ** 0.5
        corner = (x - width / 2, y - width / 2)
        panel.add_patch(
            Rectangle(corner, width, width, facecolor=shades(0.15 + 0.85 * share), edgecolor="white", linewidth=0.4)
        )
    panel.axhline(0, color=GREY, linewidth=0.6, linestyle=(0, (1, 2)), zorder=3)
    panel.axvline(0, color=GREY, linewidth=0.6, linestyle=(0, (1, 2)), zorder=3)
    panel.set_xlim(-REACH, REACH)
    panel.set_ylim(-REACH, REACH)
    panel.set_box_aspect(1)
