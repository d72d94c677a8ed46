"""How pictures are drawn: palette, one panel or several, in SVG and PDF.

They are made to be read on paper, on a phone and by colour-blind readers: one of eight colours always comes with a marker
and a dash pattern of its own.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fusionbench.contract.blocks import Picture
from fusionbench.store.files import write_atomically

# Okabe and Ito's palette: told apart by colour-blind readers; markers and dashes repeat the difference in print
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 2)),
    (0, (2, 1.5)),
    (0, (6, 2, 1, 2)),
    (0, (8, 3)),
    (0, (4, 1.5, 1, 1.5, 1, 1.5)),
)
TOGETHER = 8
"""Lines that one picture can tell apart."""

WIDTH = 4.6  # inches: a picture fills a phone, and two stand side by side on a page
GREY, GRID = "#595959", "#d9d9d9"
STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and is set in the reader's own font
    "pdf.fonttype": 42,
    "font.sans-serif": ["DejaVu Sans"],  # what is measured; the page's own stands after it
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "path.simplify": False,
}


def draw(
    name: str,
    size: tuple[float, float],
    fill: Callable[[Any], None],
    alt: str,
    caption: str,
    mark: str = "",
    *,
    pdf: bool = True,
    panels: int | tuple[int, int] = 1,
    margins: Mapping[str, float] | None = None,
) -> Picture:
    """Draw one panel, or several side by side.

    Args:
        name: File name, and the prefix of what the drawing names inside.
        size: Width and height in inches.
        fill: Draws into the axes it is given; of several panels, into the array of them.
        alt: In words.
        caption: Below the picture.
        mark: What the picture must say of its numbers, also where it is shown without the page.
        pdf: Also as PDF.
        panels: How many, on common axes; or how many rows and columns of them.
        margins: Where the panel lies in the figure, as shares of it; None: as its labels need it.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        # of many small pictures each has the same margins: their axes stand in line, and nothing has to be measured
        figure = Figure(figsize=size, layout="constrained" if margins is None else None)
        if margins is not None:
            figure.subplots_adjust(**margins)
        shape = (1, panels) if isinstance(panels, int) else panels
        fill(figure.subplots(*shape, sharex=True, sharey=True, squeeze=isinstance(panels, int)))
        if mark:
            figure.suptitle(plain(mark), fontsize=6.5, color=GREY, x=0.99, ha="right")
        svg = _saved(figure, "svg", {"Date": None})
        figure.set_layout_engine("none")  # it lies as it is from now on
        printed = _saved(figure, "pdf", {"CreationDate": None}) if pdf else b""
    return Picture(_inline(svg.decode(), name), alt, caption, name, size[0], printed)


def _saved(figure: Any, kind: str, metadata: Mapping[str, None]) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, metadata=metadata, transparent=kind == "svg")
    return buffer.getvalue()


def _inline(svg: str, prefix: str) -> str:
    """Return the drawing as an element of a page: names inside are its own, nothing points out of it."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>|\s*<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg).strip()
    return re.sub(r"<[^>]+>", lambda tag: _short(tag[0]), svg)


def _short(tag: str) -> str:
    """Return a tag without digits that nobody sees, and without turns by nothing."""
    tag = re.sub(r' transform="rotate\(-0 [^"]*"', "", tag)
    return re.sub(r"-?\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), tag)


def lean(svg: str) -> str:
    """Return a drawing without the names that nothing in it points to, and without indentation: there are many of it."""
    named = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in named else "", svg)
    return re.sub(r"\n\s*", "\n", svg)


def look(place: int) -> dict[str, Any]:
    """Return colour, marker and dashes of the line at a place among at most :data:`TOGETHER`."""
    i = place % TOGETHER
    return {"color": COLOURS[i], "marker": MARKERS[i], "linestyle": DASHES[i % len(DASHES)]}


def swatch(place: int | None, name: str) -> str:
    """Return a short piece of a line, for legends; place None: the ceiling's."""

    def fill(panel: Any) -> None:
        style = ceiling_look() if place is None else {**look(place), "linewidth": 1.6, "markersize": 5.5}
        panel.plot([0, 1, 2], [0, 0, 0], markevery=[1], **style)
        panel.set_axis_off()

    return draw(name, (0.62, 0.18), fill, "", "", pdf=False).svg


def ceiling_look() -> dict[str, Any]:
    """Return how the best possible prediction is drawn."""
    return {"color": "#000000", "linestyle": ":", "linewidth": 1.8}


def plain(label: str) -> str:
    """Return a label that matplotlib does not read as mathematics, or leave out of a legend."""
    label = label.replace("$", r"\$")
    return f" {label}" if label.startswith("_") else label


def save_figure(figure: Any, paths: Sequence[Path]) -> None:
    """Write a figure to each of the paths; the ending decides the format. Equal figures give equal bytes."""
    for path in paths:
        buffer = io.BytesIO()
        figure.savefig(
            buffer, format=path.suffix[1:], dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None
        )
        write_atomically(path, buffer.getvalue())
