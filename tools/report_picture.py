"""The annotated picture of a report's first screen: numbers in circles beside what a page of the documentation explains.

python tools/report_picture.py /tmp/demo/reports/demo-synergy/report.html docs/images/report-first-screen.png
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

SIZE = {"width": 1180, "height": 665}
FLAGS = ["--no-sandbox", "--disable-gpu"]
# what gets a number: an element, which of them, and where on it the circle stands (shares of its width and height)
PLACES = [
    (".ribbon", 0, 0.04, 0.5),
    ("h1", 0, 0.51, 0.5),
    ("ol li", 0, 1.015, 0.2),
    ("ol li", 1, 1.015, 0.2),
    ("ol li", 2, 1.015, 0.2),
    ("text=To be known before reading", 0, 0.97, 0.5),
    ("tr:has-text('baseline')", 0, 0.24, 0.5),
    ("tr:has-text('SE-Gate')", 0, 1.03, 0.5),
    ("th:has-text('37 %')", 0, 0.5, 0.5),
    ("th:has-text('parameters')", 0, 1.2, 0.5),
]
CIRCLE = """([x, y, k]) => {
    const one = document.createElement('div');
    one.textContent = k;
    one.style.cssText = `position:absolute;left:${x - 11}px;top:${y - 11}px;width:22px;height:22px;border-radius:50%;` +
        'z-index:99;background:#b3005e;color:#fff;font:700 13px/22px sans-serif;text-align:center';
    document.body.append(one);
}"""


def main(report: str, target: str) -> None:
    """Draw it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(Path(report).resolve().as_uri())
        for number, (selector, index, across, down) in enumerate(PLACES, 1):
            box = page.locator(selector).nth(index).bounding_box()
            if box is None:
                raise SystemExit(f"{report}: nothing at '{selector}'")
            page.evaluate(CIRCLE, [box["x"] + across * box["width"], box["y"] + down * box["height"], number])
        shown = page.screenshot()
        browser.close()
    # few colours are enough for a page of words, and a third of the bytes
    Image.open(io.BytesIO(shown)).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(target, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
