"""Write the help texts that ``fusionbench --help`` shows: what the command line says of itself at 80 columns.

    python tools/help_texts.py

``tests/test_main.py`` fails where a text is not what this would write.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from fusionbench.__main__ import WIDTH, help_file
from fusionbench.cli import app, guarded


def commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command, and of every group of commands."""
    yield words
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*words, name))


def said(words: tuple[str, ...]) -> str:
    """Return what the command line answers to ``--help``."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(WIDTH)
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            code = guarded(lambda: app([*words, "--help"], prog_name="fusionbench", standalone_mode=False))
    finally:
        del os.environ["COLUMNS"]
        if before is not None:
            os.environ["COLUMNS"] = before
    if code:
        raise SystemExit(f"fusionbench {' '.join(words)} --help ended with {code}")
    return out.getvalue()


def texts() -> dict[Path, str]:
    """Return every text by the file that it belongs in."""
    return {Path(help_file(words)): said(words) for words in commands(typer.main.get_command(app))}


def main() -> None:
    """Write all of them; take away those of commands that are no more."""
    wanted = texts()
    folder = next(iter(wanted)).parent
    folder.mkdir(exist_ok=True)
    for old in {*folder.glob("*.txt")} - set(wanted):
        old.unlink()
    for path, text in wanted.items():
        path.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
