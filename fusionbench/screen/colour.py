"""Colour for lines that are also read without it: on a terminal only, and not where ``NO_COLOR`` is set."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # as in typing, whose import takes as long as Python to start
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

STYLES = {"bold": "1", "dim": "2", "red": "1;31", "green": "32", "yellow": "33", "blue": "36"}
SIGNS = {"WRONG": "red", "ok": "green", "note": "yellow"}
"""How ``doctor`` begins a line."""
VERDICTS = {" yes": "green", " no": "dim", " same": "dim"}
"""How ``compare`` ends one."""


def is_coloured() -> bool:
    """Whether standard output takes colour, and nobody asked for none (``NO_COLOR``, https://no-color.org)."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and sys.stdout is not None and sys.stdout.isatty()


def painted(text: str, style: str) -> str:
    """Return text in a style of :data:`STYLES`."""
    return f"\x1b[{STYLES[style]}m{text}\x1b[0m" if text else text


def listing(lines: Iterable[str], *, width: int) -> Iterator[str]:
    """Colour ``list``: kind, name, who offers it, and what it is; a line is cut at the width of the screen."""
    for line in lines:
        shown = line if len(line) <= width else line[: width - 1] + "…"
        kind, name, rest = shown[:14], shown[14:35], shown[35:]
        if kind.startswith("broken") or "REFUSED" in rest:
            yield painted(shown, "red")
            continue
        yield painted(kind, "dim") + painted(name, "bold") + rest


def findings(lines: Iterable[str]) -> Iterator[str]:
    """Colour ``doctor``: the sign that a finding begins with, and what is to be done."""
    for line in lines:
        sign = line.split(" ", 1)[0]
        if sign in SIGNS:
            yield painted(line[: len(sign)], SIGNS[sign]) + line[len(sign) :]
        else:
            yield painted(line, "yellow") if line.lstrip().startswith("to do:") else line


def comparison(lines: Iterable[str]) -> Iterator[str]:
    """Colour ``compare``: which differences hold, and its headings."""
    for line in lines:
        ending = next((e for e in VERDICTS if line.endswith(e)), "")
        if ending:
            yield line[: -len(ending)] + painted(ending, VERDICTS[ending])
        else:
            heading = line.startswith(("A: ", "B: ", "what changed:", "leader of", "not in group 1"))
            yield painted(line, "bold") if heading else line


def description(lines: Iterable[str]) -> Iterator[str]:
    """Colour ``show``: the plugin's own line, and headings."""
    for number, line in enumerate(lines):
        heading = line.endswith(":") and not line.startswith(" ")
        yield painted(line, "blue" if number == 0 else "bold") if heading or number == 0 else line
