"""Names that data bring: which may name a modality.

A modality's name becomes a file's name, a key in modules and patterns, a column, and text in pictures and LaTeX. It is checked
once, where a data set is made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from fusionbench.errors import printable

LONGEST = 64

ACCEPTED = f"accepted are letters, digits, '_', '-' and single spaces within, {LONGEST} characters at most"

_WORDS = ("random", "all", "natural", "complete")
_NAME = re.compile(r"[^\W_][\w-]*( [\w-]+)*")


def name_problem(name: object) -> str:
    """Say what is wrong with the name of a modality; empty where nothing is."""
    if not isinstance(name, str):
        return f"modality {name!r}: a name is text; {ACCEPTED}"
    called = f"modality '{printable(name)[:LONGEST]}'"
    if len(name) > LONGEST or not _NAME.fullmatch(name):
        return f"{called}: this name cannot be used; {ACCEPTED}, and a letter or digit comes first. Rename it"
    if name in _WORDS:
        return f"{called}: this word is a pattern of missing modalities. Rename it"
    if _taken(name):
        return f"{called}: this name is taken by PyTorch (modules have an attribute of this name). Rename it"
    return ""


def name_problems(names: Iterable[object]) -> list[str]:
    """Return what is wrong with names of modalities, one sentence each."""
    return [problem for name in names if (problem := name_problem(name))]


def _taken(name: str) -> bool:
    from torch import nn

    return hasattr(nn.ModuleDict(), name) or hasattr(nn.ParameterDict(), name)
