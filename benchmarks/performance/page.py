"""Puts measured tables into docs/performance.md, between the marks that name them.

    python benchmarks/performance/page.py --folder /tmp/performance

The folder is what the other scripts were given. A part of it that is not there leaves its table as it is.
"""

from __future__ import annotations

import argparse
import csv
import re
import shutil
from pathlib import Path

from populations import markdown

DOCS = Path(__file__).resolve().parents[2] / "docs"


def with_tables(text: str, folder: Path) -> tuple[str, list[str]]:
    """Return a page with every marked table that the folder has, and the names of those that were put in."""
    done = []

    def table(found: re.Match[str]) -> str:
        path = folder / f"{found[1]}.csv"
        if not path.exists():
            return found[0]
        done.append(found[1])
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
        return f"<!-- measured: {found[1]} -->\n\n{markdown(lines)}\n\n<!-- end -->"

    return re.sub(r"<!-- measured: (\w+) -->.*?<!-- end -->", table, text, flags=re.DOTALL), done


def main() -> None:
    """Change the page and its picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    folder = parser.parse_args().folder
    page = DOCS / "performance.md"
    text, done = with_tables(page.read_text(encoding="utf-8"), folder)
    page.write_text(text, encoding="utf-8")
    if (folder / "performance.png").exists():
        shutil.copy(folder / "performance.png", DOCS / "images" / "performance.png")
    print(f"{page}: {', '.join(done) or 'nothing'}")


if __name__ == "__main__":
    main()
