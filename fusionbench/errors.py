"""The errors that fusionbench raises on purpose.

::

    FusionBenchError            exit code 1, printed without a traceback
    ├── ConfigError             2: the benchmark file, --set, or a name in them
    ├── PluginError             2: a plugin that cannot be loaded or breaks its contract
    ├── DataError               2: files or tables that are missing, malformed or empty
    ├── WeightsError            2: encoder weights that are not at hand
    ├── WorkspaceError          2: a folder that cannot be written, or a store that cannot be read
    └── CellError               1: one cell failed (diverged, out of memory, a plugin raised)

A message says where, what was found, what is accepted, and what to do. Passwords in addresses never stand in one.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, Final

HIDDEN: Final = "***"
# between '//' and '@'; a password may hold any of these signs itself, so it ends at the last '@' before a blank or a quote
_IN_ADDRESS = re.compile(r"(?<=://)(?:[^\s/?#'\"<>@]*(?:@[^\s/?#'\"<>@]*)*|[^\s/?#'\"<>:@]*:[^\s'\"<>]*)@")
_IN_QUERY = re.compile(
    r"(?i)(?<=[?&;])([\w.-]*(?:password|passwd|pwd|passphrase|secret|token|api[_-]?key|access[_-]?key|credential|signature|sig)"
    r"[\w.-]*=)[^&;#\s'\"<>]+"
)


def without_secrets(value: Any) -> Any:
    """Return a text, or plain data that hold texts, with user names, passwords and tokens in addresses hidden."""
    if isinstance(value, str):
        return _IN_QUERY.sub(rf"\g<1>{HIDDEN}", _IN_ADDRESS.sub(f"{HIDDEN}@", value)) if "://" in value else value
    if isinstance(value, dict):
        return {k: without_secrets(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(v) for v in value]
    return value


class FusionBenchError(Exception):
    """Base of every error whose message is meant for the user."""

    exit_code = 1

    def __init__(self, *said: object) -> None:
        super().__init__(*map(without_secrets, said))

    def __str__(self) -> str:
        # names of columns and files come from outside: an escape sequence in one would steer the terminal
        return printable(super().__str__(), kept="\n\t")


class ConfigError(FusionBenchError):
    """One or more problems in the configuration, all reported together.

    Args:
        problems: One sentence each, beginning with the place (``file:line: key``).
    """

    exit_code = 2

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: list[str] = without_secrets([problems] if isinstance(problems, str) else list(problems))
        super().__init__("\n".join(self.problems))


class PluginError(FusionBenchError):
    """A plugin cannot be loaded, or does not keep the contract of its kind."""

    exit_code = 2


class DataError(FusionBenchError):
    """Input files or tables are missing, malformed, or leave nothing to learn from."""

    exit_code = 2


class WeightsError(FusionBenchError):
    """Pre-trained weights were asked for and are not on this machine."""

    exit_code = 2


class WorkspaceError(FusionBenchError):
    """The workspace (cache, results, studies) cannot be written or read."""

    exit_code = 2


class CellError(FusionBenchError):
    """One cell could not be computed; the others are not affected."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest known name, or an empty string."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if not close:  # LABEL is near label, although no letter is the same
        folded = {other.casefold().strip(): other for other in names}
        close = [folded[c] for c in difflib.get_close_matches(name.casefold().strip(), list(folded), n=1, cutoff=0.5)]
    return f"; did you mean '{close[0]}'?" if close else ""


def printable(text: str, kept: str = "") -> str:
    """Return text as a screen may show it: control characters, marks of direction and lone surrogates as escapes.

    Args:
        text: Any.
        kept: Characters that stay although they are control characters, such as ends of lines.
    """
    if text.isprintable():
        return text
    return "".join(c if c in kept + _JOINERS or unicodedata.category(c) not in _STEERING else _escape(c) for c in text)


_STEERING = ("Cc", "Cf", "Cs", "Zl", "Zp")
_JOINERS = "\u200c\u200d"  # part of words in Persian and in scripts of India


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
