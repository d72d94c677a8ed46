"""The map as pictures: which line could be the best where, with regret; and where one data set lies among the regimes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fusionbench.analysis.regimes.charted import RegimeMap
from fusionbench.analysis.regimes.placing import Measured
from fusionbench.analysis.words import metric_name, percent
from fusionbench.contract.blocks import Picture
from fusionbench.report.charts import drawing
from fusionbench.report.charts.drawing import COLOURS, WIDTH, plain

STEPS: Final = (0.0, 0.005, 0.01, 0.02, 0.04, 0.08)
"""Where the shades of regret change; equal in every picture, so that pictures can be compared."""
SHADES: Final = "cividis_r"  # made for colour-blind readers, and as dark as it is far in print
MOST_DIALS: Final = 3
_CELL: Final = 0.115  # inches
_LEAST: Final = 1.5  # inches of a panel with few cells


class _Layout:
    """Where the cells of a sweep stand: the first dial upwards, the second to the right, blocks of the third side by side."""

    def __init__(self, charted: RegimeMap) -> None:
        dials = [*zip(*(regime.dials for regime in charted.regimes), strict=True)]
        while len(dials) < MOST_DIALS:
            dials.append((None,) * len(charted.regimes))
        self.values = [sorted(set(one), key=_order) for one in dials]
        self.places = [[values.index(v) for v in one] for one, values in zip(dials, self.values, strict=True)]

    @property
    def block(self) -> int:
        """Columns of a block, with the gap behind it."""
        return len(self.values[1]) + 1

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a panel."""
        return len(self.values[0]), self.block * len(self.values[2]) - 1

    def at(self, regime: Any) -> tuple[int, int]:
        """Row and column of a regime."""
        up, right, block = (places[regime] for places in self.places)
        return up, block * self.block + right

    def spread(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Put a number of each regime in its cell; gaps are NaN."""
        found = np.full(self.shape, np.nan)
        for i, value in enumerate(values):
            found[self.at(i)] = value
        return found


def _order(value: Any) -> Any:
    return (isinstance(value, str), value)


def sweep_picture(charted: RegimeMap, name: str, caption: str, mark: str) -> Picture:
    """Draw every line (rows) at every missing rate (columns): a cell is a regime, its shade the regret, a dot: could be the best.

    Args:
        charted: A map of one to three dials.
        name: File name.
        caption: Below it.
        mark: What the picture must say of its numbers.
    """
    layout, rows, columns = _Layout(charted), len(charted.lines) + 1, len(charted.rates)
    height, width = layout.shape
    cell = max(_CELL, _LEAST / width)
    size = columns * width * cell + 2.6, rows * (height * cell + 0.1) + 1.2

    def fill(panel: Any) -> None:
        from matplotlib import colormaps
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import BoundaryNorm

        figure = panel.figure
        panel.remove()
        figure.get_layout_engine().set(w_pad=0.08)  # rates stand farther apart than the blocks inside them
        panels = figure.subplots(rows, columns, squeeze=False)
        colours = colormaps[SHADES]
        norm = BoundaryNorm(STEPS, colours.N, extend="max")
        for j in range(columns):
            _count_panel(panels[0][j], layout, charted.possible[:, j].sum(axis=1))
            hidden = float(np.mean([r.achieved[j] for r in charted.regimes]))
            panels[0][j].set_title(f"{100 * hidden:.0f} % missing", fontsize=8, pad=14)
            for k in range(len(charted.lines)):
                shades = layout.spread(charted.regret[:, j, k])
                panels[k + 1][j].imshow(shades, cmap=colours, norm=norm, origin="lower", aspect="auto")
                _dots(panels[k + 1][j], layout, charted.possible[:, j, k], charted.regret[:, j, k])
        for row, title in zip(panels, ("how many could be the best", *charted.lines), strict=True):
            row[0].set_ylabel(plain(title), rotation=0, ha="right", va="center", fontsize=8)
        for one in panels.flat:
            one.set_xticks([])
            one.set_yticks([])
            one.spines[:].set_visible(False)
        _name_axes(panels, layout, charted.dials)
        bar = figure.colorbar(
            ScalarMappable(norm, colours), ax=panels, location="bottom", shrink=0.6, aspect=40, pad=0.01
        )
        what = "the best possible prediction" if charted.planted else "the best of the lines"
        bar.set_label(f"how far behind {what}, {metric_name(charted.metric)}; dot: could be the best", fontsize=8)
        bar.ax.tick_params(labelsize=7)

    return drawing.draw(name, size, fill, _alt(charted), caption, mark)


def _count_panel(panel: Any, layout: _Layout, counts: NDArray[np.int64]) -> None:
    """Numbers instead of shades: how many lines could be the best."""
    panel.imshow(np.full(layout.shape, np.nan), origin="lower", aspect="auto")
    for i, count in enumerate(counts):
        row, column = layout.at(i)
        panel.text(column, row, str(count), ha="center", va="center", fontsize=5.5)


def _dots(panel: Any, layout: _Layout, possible: NDArray[np.bool_], regret: NDArray[np.float64]) -> None:
    for dark, colour in ((False, "black"), (True, "white")):
        found = [layout.at(i) for i in np.flatnonzero(possible & ((regret > STEPS[-2]) == dark))]
        if found:
            rows, columns = zip(*found, strict=True)
            panel.plot(columns, rows, linestyle="none", marker="o", markersize=3, color=colour, markeredgewidth=0)


def _name_axes(panels: Any, layout: _Layout, dials: Sequence[str]) -> None:
    """Say once what stands where: blocks above the first row, the dials inside a block at the last one."""
    for panel in panels[0]:
        for b, value in enumerate(layout.values[2]):
            if value is not None:
                middle = b * layout.block + (layout.block - 2) / 2
                panel.text(middle, layout.shape[0] - 0.3, _said(value), ha="center", va="bottom", fontsize=6.5)
    if len(dials) > 2:
        panels[0][0].text(-1, layout.shape[0] - 0.3, dials[2], ha="right", va="bottom", fontsize=6.5)
    last = panels[-1][0]
    ups, rights = layout.values[0], layout.values[1]
    last.set_yticks([0, len(ups) - 1], [f"{dials[0]} {_said(ups[0])}", _said(ups[-1])], fontsize=6)
    last.tick_params(length=0, pad=1)
    if rights != [None]:
        ends = [0, len(rights) - 1]
        last.set_xticks(ends, [_said(rights[0]), _said(rights[-1])], fontsize=6)
        last.annotate(
            dials[1], (-0.5, -0.5), (0, -9), textcoords="offset points", va="top", fontsize=6, annotation_clip=False
        )


def _said(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _alt(charted: RegimeMap) -> str:
    everywhere = charted.possible.mean(axis=(0, 1))
    said = "; ".join(f"{line} in {percent(share)}" for line, share in zip(charted.lines, everywhere, strict=True))
    return (
        f"Which lines could be the best in {len(charted.regimes)} regimes at {len(charted.rates)} rates "
        f"(missing: {charted.pattern}): {said} of the points. The numbers are in the table beside this page."
    )


def place_picture(charted: RegimeMap, found: Measured, nearest: Sequence[int], name: str, mark: str) -> Picture:
    """Draw the regimes by what was measured there, and the data set among them.

    Args:
        charted: The map.
        found: What was measured in the data set.
        nearest: Positions of the regimes that are nearest to it.
        name: File name.
        mark: What the picture must say of its numbers.
    """

    def fill(panel: Any) -> None:
        across, up = charted.places[:, 0], charted.places[:, 2] - charted.places[:, 1]
        panel.axhline(0, color=drawing.GRID, linewidth=0.8)
        panel.plot(across, up, linestyle="none", marker="o", markersize=4, color="#bdbdbd", label="swept regimes")
        panel.plot(
            across[[*nearest]], up[[*nearest]], linestyle="none", marker="o", markersize=6, markerfacecolor="none",
            color=COLOURS[0], label="nearest",
        )  # fmt: skip
        if not np.isnan(found.low).any():
            net = found.draws[:, 2] - found.draws[:, 1]
            low, high = np.quantile(net, [0.025, 0.975])
            here = float(found.found.synergy - found.found.redundancy)
            panel.plot([found.low[0], found.high[0]], [here, here], color=COLOURS[1], linewidth=1.2)
            panel.plot([float(found.found.dominance)] * 2, [low, high], color=COLOURS[1], linewidth=1.2)
        panel.plot(
            [float(found.found.dominance)], [float(found.found.synergy - found.found.redundancy)],
            linestyle="none", marker="X", markersize=8, color=COLOURS[1], label="these data",
        )  # fmt: skip
        panel.set_xlabel("dominance: 0 all bring the same, 1 one brings everything")
        panel.set_ylabel("redundancy (below 0)\nor synergy (above 0)")
        panel.legend(frameon=False, fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.45, 1.0))
        panel.grid(color=drawing.GRID, linewidth=0.4)

    place = found.found
    alt = (
        f"These data among {len(charted.regimes)} swept regimes: dominance {float(place.dominance):.2f}, redundancy "
        f"{float(place.redundancy):.2f}, synergy {float(place.synergy):.2f}."
    )
    caption = "Swept regimes by what was measured in them, and these data; lines are intervals over folds."
    return drawing.draw(name, (WIDTH, 3.6), fill, alt, caption, mark)
