r"""Pictures of what a command shows in a terminal: of the moment when a text appears, and of the end.

The command runs in a pseudo terminal of a given size. What it writes goes through a terminal emulator (pyte), and the
emulator's screen is drawn by headless Chromium. Both are tools of this page alone: ``pip install pyte playwright``.

    python tools/terminal_picture.py --size 120x40 --when '1. of 48 models' --during during.png --after after.png \
        fusionbench run benchmarks/mimic_ihm.yaml --workspace /tmp/demo
"""

from __future__ import annotations

import argparse
import codecs
import html
import os
import pty
import re
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pyte
from playwright.sync_api import sync_playwright

CTRL_C = b"\x03"
FOREGROUND, BACKGROUND = "#d8dee9", "#14181f"
COLOURS = {
    "black": "#14181f",
    "red": "#e06c75",
    "green": "#8fcf7f",
    "brown": "#e5c07b",
    "blue": "#7aa2f7",
    "magenta": "#c678dd",
    "cyan": "#6fc3cf",
    "white": FOREGROUND,
}
PAGE = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; background: {background} }}
pre {{ margin: 12px; display: inline-block; font: 14px/16px "DejaVu Sans Mono", monospace; color: {foreground} }}
</style><pre>{lines}</pre>"""


def written(command: Sequence[str], columns: int, rows: int, interrupt_after: float | None) -> Iterator[bytes]:
    """Run a command in a pseudo terminal and yield what it writes; press Ctrl-C after some seconds."""
    child, terminal = pty.fork()
    if child == 0:
        os.execvp(command[0], command)  # noqa: S606 - the tool's user gives the command
    termios.tcsetwinsize(terminal, (rows, columns))
    start = time.monotonic()
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # Linux says so when the command has ended
            break
        yield data
        if interrupt_after is not None and time.monotonic() - start > interrupt_after:
            os.write(terminal, CTRL_C)
            interrupt_after = None
    os.close(terminal)
    os.waitpid(child, 0)


def spans(line: dict[int, Any], columns: int) -> str:
    """Return one line of the screen as HTML."""
    cells = [line[x] for x in range(columns)]
    parts = []
    for style, run in groupby(cells, key=lambda c: (c.fg, c.bg, c.bold, c.reverse)):
        foreground, background, bold, reverse = style
        colours = [COLOURS.get(foreground, FOREGROUND), COLOURS.get(background, BACKGROUND)]
        colour, behind = reversed(colours) if reverse else colours
        css = f"color:{colour}" + (";font-weight:bold" if bold else "")
        if behind != BACKGROUND:  # it would cover the underscores of the line above
            css += f";background:{behind}"
        text = html.escape("".join(c.data for c in run))
        parts.append(f'<span style="{css}">{text}</span>')
    return "".join(parts)


def page(screen: pyte.Screen) -> str:
    """Return the screen as a page."""
    lines = "\n".join(spans(screen.buffer[y], screen.columns) for y in range(screen.lines))
    return PAGE.format(lines=lines, foreground=FOREGROUND, background=BACKGROUND)


def draw(content: str, path: Path, chromium: str | None) -> None:
    """Draw a page into a PNG file."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        window = browser.new_page(viewport={"width": 400, "height": 200})
        window.set_content(content)
        window.locator("pre").screenshot(path=path)
        browser.close()


def main() -> None:
    """Run the command and write the pictures."""
    options = parsed()
    columns, rows = map(int, options.size.split("x"))
    screen = pyte.Screen(columns, rows)
    stream, decode = pyte.Stream(screen), codecs.getincrementaldecoder("utf-8")("replace").decode
    during = None
    for data in written(options.command, columns, rows, options.interrupt_after):
        stream.feed(decode(data))
        if options.when and during is None and re.search(options.when, "\n".join(screen.display)):
            during = page(screen)
    if options.after:
        draw(page(screen), options.after, options.chromium)
    if options.during:
        if during is None:
            sys.exit(f"the screen never had '{options.when}'")
        draw(during, options.during, options.chromium)


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="120x40", help="columns x rows")
    parser.add_argument("--when", help="regular expression: the first picture is of the first screen that has it")
    parser.add_argument("--during", type=Path, help="picture of that moment")
    parser.add_argument("--after", type=Path, help="picture of the end")
    parser.add_argument("--interrupt-after", type=float, metavar="SECONDS", help="press Ctrl-C then")
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="the browser that draws")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser.parse_args()


if __name__ == "__main__":
    main()
