"""Google docstrings taken apart, for ``show``: what comes first, the formulas, and what each argument means."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

_HEADING = re.compile(r"^(Args|Attributes|Raises|Returns|Shapes|Yields|Note|Notes|Example|Examples|References):$")
_ARGUMENT = re.compile(r"^ {4}\*{0,2}(\w+)(?: \([^)]*\))?: *(.*)$")


def plain(text: str) -> str:
    """Return text without markup: double backticks and roles such as ``:class:`Batch```."""
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"\1", text)
    return text.replace("``", "")


def opening(doc: str | None) -> str:
    """Return the paragraphs before the first section."""
    lines = inspect.cleandoc(doc or "").splitlines()
    end = next((i for i, line in enumerate(lines) if _HEADING.match(line)), len(lines))
    return "\n".join(lines[:end]).strip()


def formulas(doc: str | None) -> str:
    """Return the indented blocks with the paragraph that leads to each (``... ::``)."""
    paragraphs = re.split(r"\n\s*\n", opening(doc))
    kept: list[str] = []
    for before, paragraph in pairwise(["", *paragraphs]):
        if paragraph.startswith(" "):
            kept += [before.replace("::", ":")] if before.endswith("::") else []
            kept.append(paragraph)
    return "\n\n".join(kept)


def arguments(target: type) -> dict[str, str]:
    """Return what the Args of a class (or of its constructor) say, one line of text by name.

    What it does not say of an argument of its own, a class that it derives from may have said before.
    """
    said: dict[str, str] = {}
    for owner in reversed(target.__mro__):
        said |= _section_args(getattr(vars(owner).get("__init__"), "__doc__", None)) | _section_args(
            vars(owner).get("__doc__")
        )
    own = inspect.signature(target).parameters
    return {name: text for name, text in said.items() if name in own or name in _own_args(target)}


def _own_args(target: type) -> dict[str, str]:
    return _section_args(getattr(vars(target).get("__init__"), "__doc__", None)) | _section_args(target.__doc__)


def _section_args(doc: str | None) -> dict[str, str]:
    lines = inspect.cleandoc(doc or "").splitlines()
    if "Args:" not in lines:
        return {}
    found: dict[str, list[str]] = {}
    name = ""
    for line in lines[lines.index("Args:") + 1 :]:
        if line and not line.startswith(" "):
            break
        if match := _ARGUMENT.match(line):
            name = match[1]
            found[name] = [match[2]]
        elif name and line.strip():
            found[name].append(line.strip())
    return {n: " ".join(parts) for n, parts in found.items()}


def choices(text: str, values: Sequence[Any]) -> tuple[str, dict[Any, str]]:
    """Take an argument's text apart at its accepted values.

    Args:
        text: For example ``"Which way. ``a``: the first; ``b``: the second."``
        values: The accepted values; None is written bare, followed by a colon.

    Returns:
        What comes before the first value, and what follows each; an empty string where nothing is said.
    """
    marks = {v: m for v in values if (m := re.search(_mark(v), text)) is not None}
    if not marks:
        return text, dict.fromkeys(values, "")
    ordered = sorted(marks, key=lambda v: marks[v].start())
    ends = [marks[v].start() for v in ordered[1:]] + [len(text)]
    said = {v: _trimmed(text[marks[v].end() : end]) for v, end in zip(ordered, ends, strict=True)}
    return _trimmed(text[: marks[ordered[0]].start()]), {v: said.get(v, "") for v in values}


def _mark(value: Any) -> str:
    return r"\bNone(?=:)" if value is None else f"``{re.escape(str(value))}``"


def _trimmed(piece: str) -> str:
    """Without the punctuation and the conjunctions that joined it to its neighbours."""
    piece = re.sub(r"[\s,;]+(or|and|else)?\s*$", "", piece.strip(" ,;:.")).strip(" ,;:.")
    inner = piece[1:-1]
    return inner if piece.startswith("(") and piece.endswith(")") and not set("()") & set(inner) else piece
