"""The first sentence of a module, read and not imported: what ``fusionbench list`` says of a plugin.

It imports next to nothing, since a listing must not take longer than Python takes to start.
"""

from __future__ import annotations

import sys

LONGEST = 4000
"""Bytes of a file in which its first sentence must end."""
QUOTES = ('"""', "'''")


def sentence_of(module: str) -> str:
    """Return the first sentence of a module's docstring without its full stop; empty where its file or docstring is not found."""
    loaded = sys.modules.get(module)  # a file that was given by name is no module of the path
    if loaded is not None and loaded.__doc__:
        return first_sentence(f'"""{loaded.__doc__}"""')
    path = module.replace(".", "/")
    for place in sys.path:
        for ending in (".py", "/__init__.py"):
            text = _beginning(f"{place or '.'}/{path}{ending}")
            if text:
                return first_sentence(text)
    return ""


def first_sentence(source: str) -> str:
    """Return the first sentence of the docstring that a source begins with, without its full stop."""
    begin = source.lstrip("\ufeff \n\r\t")
    while begin.startswith("#"):
        begin = begin.partition("\n")[2].lstrip()
    begin = begin.removeprefix("r")
    quote = begin[:3]
    if quote not in QUOTES:
        return ""
    docstring = begin[3:].partition(quote)[0]
    paragraph = docstring.strip().partition("\n\n")[0]
    words = " ".join(paragraph.split())
    sentence = words.partition(". ")[0].removesuffix(".")
    return "".join(c for c in sentence if c.isprintable())


def _beginning(path: str) -> str:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib takes longer to import than Python to start
            return file.read(LONGEST).decode("utf-8", "ignore")
    except OSError:
        return ""
