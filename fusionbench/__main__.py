"""Where ``fusionbench`` and ``python -m fusionbench`` begin: what can be answered without importing anything is answered here.

The help texts lie in ``screen/help/``, written by ``tools/help_texts.py`` from the command line itself; a test compares them. All
else, and whatever is not exactly one of these questions, is the command line's (:mod:`fusionbench.cli`).
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # as in typing, whose import takes as long as Python to start
if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 80
"""Columns of the help texts that are kept."""


def main() -> None:
    """Answer at once, or run the command line."""
    answer = None if _completes() or sys.stdout is None else quick_answer(sys.argv[1:])
    if answer is None:
        from fusionbench.cli import main as whole

        whole()
    else:
        sys.exit(answer[1] if _written(answer[0]) else 1)


def _written(text: str) -> bool:
    """Write to standard output; whether that went well. That nobody reads any more is no news to anybody."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as problem:
        # what could not be written stays in the buffer, and would be tried again, with a traceback, at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(problem, BrokenPipeError):
            sys.stderr.write(f"error: standard output cannot be written: {problem.strerror}\n")
        return False
    return True


def quick_answer(words: Sequence[str]) -> tuple[str, int] | None:
    """Return what is printed and the exit code, for questions that need no parser; None for all else."""
    if list(words) == ["--version"]:
        from fusionbench import __version__

        return f"fusionbench {__version__}\n", 0
    if words and words[0] == "list" and len(words) < 3 and not "".join(words[1:]).startswith("-"):
        from fusionbench.commands.listing import quick_lines

        lines = quick_lines(words[1] if words[1:] else None)
        return None if lines is None else ("".join(f"{line}\n" for line in _coloured(lines)), 0)
    if words and words[-1] == "--help":
        text = help_text(words[:-1])
        return None if text is None else (text, 0)
    # a command without a word behind it is a question only where it is a group of commands
    text = help_text(words) if list(words) in ([], ["data"], ["plugin"]) else None
    return None if text is None else (text, 2)


def _coloured(lines: list[str]) -> list[str]:
    from fusionbench.screen.colour import is_coloured, listing

    return list(listing(lines, width=_columns())) if is_coloured() else lines


def help_text(command: Sequence[str]) -> str | None:
    """Return the help text that is kept of a command; None where there is none, or where it does not fit the screen."""
    # small letters: some systems find the file of 'run' as 'RUN' too
    if not all(word.isascii() and word.isalpha() and word.islower() for word in command) or _columns() < WIDTH:
        return None
    try:
        with open(help_file(command), encoding="utf-8") as file:  # noqa: PTH123 - pathlib takes as long as Python to start
            return file.read()
    except (OSError, UnicodeError):
        return None


def help_file(command: Sequence[str]) -> str:
    """Return where the help text of a command is kept."""
    # a dot cannot be in a command's name
    name = ".".join(["fusionbench", *command, "txt"])
    return os.path.join(os.path.dirname(__file__), "screen", "help", name)  # noqa: PTH118, PTH120 - as above


def _columns() -> int:
    """How wide the screen is, by the rules of ``shutil.get_terminal_size``; what is no screen is wide."""
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said) > 0:
        return int(said)
    try:
        return os.get_terminal_size(1).columns or WIDTH
    except OSError:
        return WIDTH


def _completes() -> bool:
    """Whether a shell asks for completions."""
    return any(name.startswith("_") and name.endswith("_COMPLETE") for name in os.environ)


if __name__ == "__main__":
    main()
