"""What keeps a plugin's habits from everybody else: global settings and random states, printing, ending, unclear failures.

A plugin may set torch's default dtype, change the working folder, draw from global generators, print, or call
``sys.exit``. Every call into plugin code stands in :func:`contained`: what was set or drew is put back
(:mod:`fusionbench.contract.settings`), what was printed goes to standard error under its name, and what would end the
program is an error of the plugin. Only a user's Ctrl-C ends it.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any, Final, Literal, NoReturn, Self

from fusionbench.contract.settings import GlobalState
from fusionbench.errors import FusionBenchError, PluginError, without_secrets

SHOWN_LINES: Final = 20
"""Of what a plugin prints in one training; the rest is counted."""
SHOWN_CHARACTERS: Final = 300
"""Of a line that a plugin prints, and of what an error of it says."""
OWNER: Final = "fusionbench_owner"
"""The attribute of a built plugin that says which it is, and whose."""
OWN: Final = ("fusionbench", "fusionbench_plugins")
"""Packages whose messages say nothing of a row."""
_PLACE = r" \([^()]*:\d+\)"
_REFUSED = " cannot be constructed: "
_leave_now = os._exit
_here = os.getpid


_here_now = threading.local()
"""How many blocks this thread is in."""
Watched = Literal["", "methods", "all"]


class contained:  # noqa: N801 - it is used as a function
    """Put global settings and random states back after the block; print under a label, to standard error.

    What would end the program (``sys.exit``, ``os._exit``, any ``BaseException`` that is no interruption by the user) is
    raised as a :class:`PluginError`.

    Args:
        label: Whose block it is.
        watched: Whether a ``KeyboardInterrupt`` that no user asked for is such an end too, where others' work is at stake:
            ``all``, or what comes out of a method of a built plugin (``methods``).
        ends: What of plugins counts as an attempt to end the program.
    """

    # a class: its end needs no more frames than the block's own, also where the plugin has left none for others

    def __init__(self, label: str, *, watched: Watched = "", ends: type[BaseException] = BaseException) -> None:
        self._label, self._watched, self._ends = label, watched, ends

    def __enter__(self) -> Self:
        _here_now.depth = getattr(_here_now, "depth", 0) + 1
        self._before = GlobalState(inner=_here_now.depth > 1)
        self._recursion = sys.getrecursionlimit()
        self._interruptions = _Interruptions.begin() if self._watched else _Interruptions(watched=False)
        self._said = _Attributed(self._label)
        self._stdout, sys.stdout = sys.stdout, self._said
        os._exit = _guarded_exit
        return self

    def put_back(self) -> None:
        """Put everything back in the middle of the block, before something that is not the plugin's."""
        self._before.restore()
        sys.stdout, os._exit = self._said, _guarded_exit

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.setrecursionlimit(self._recursion)
        sys.stdout = self._stdout
        by_the_user = isinstance(problem, KeyboardInterrupt) and (
            self._interruptions.happened or (self._watched == "methods" and not _origin(problem.__traceback__)[0])
        )
        _here_now.depth -= 1
        self._before.restore()
        self._said.close()
        if problem is None or isinstance(problem, Exception) or by_the_user or not isinstance(problem, self._ends):
            return
        raise PluginError(f"{self._label}: {described(problem)}; a plugin must not end the program") from problem


class plugin_call(contained):  # noqa: N801 - it is used as a function
    """The same for a call without which a run cannot go on: whatever is raised is said in a sentence.

    Args:
        label: Whose block it is.
    """

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, problem, trace)
        if isinstance(problem, Exception) and not isinstance(problem, FusionBenchError):
            raise PluginError(f"{self._label} failed: {described(problem)}") from problem


class _Interruptions:
    """Whether the user asked to stop, as told from a plugin that raises ``KeyboardInterrupt``."""

    count = 0

    def __init__(self, *, watched: bool) -> None:
        self._watched, self._before = watched, _Interruptions.count

    @classmethod
    def begin(cls) -> _Interruptions:
        """Count interruptions from now on, where this thread can."""
        if threading.current_thread() is not threading.main_thread():
            return cls(watched=False)
        handler = signal.getsignal(signal.SIGINT)
        if callable(handler) and not isinstance(handler, _Counting):
            signal.signal(signal.SIGINT, _Counting(handler))
        # ignored, as in the background of a shell: then nobody can interrupt
        return cls(watched=callable(handler) or handler is signal.SIG_IGN)

    @property
    def happened(self) -> bool:
        """Whether there was one; also where nobody could count."""
        return not self._watched or _Interruptions.count > self._before


class _Counting:
    """A handler of interruptions that counts, and does what the one before it does."""

    def __init__(self, before: Any) -> None:
        self._before = before

    def __call__(self, number: int, frame: FrameType | None) -> None:
        _Interruptions.count += 1
        self._before(number, frame)


class LeavingError(SystemExit):
    """``os._exit`` was called."""


def _guarded_exit(status: int) -> NoReturn:
    """End a process that was forked; this one is not a plugin's to end."""
    if _here() != _MAIN:
        _leave_now(status)
    raise LeavingError(f"os._exit({status})")


_MAIN: Final = os.getpid()


class _Attributed(io.TextIOBase):
    """Stands in for standard output: whole lines go to standard error, each under the label."""

    def __init__(self, label: str) -> None:
        self._label, self._line, self._count = label, "", 0

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._count += 1
            if self._count <= SHOWN_LINES:
                with contextlib.suppress(Exception):  # nobody need be there to read it
                    sys.stderr.write(f"[{self._label}] {cut(line)}\n")
        return len(text)

    def close(self) -> None:
        if self._line:
            self.write("\n")
        if self._count > SHOWN_LINES:
            with contextlib.suppress(Exception):
                sys.stderr.write(f"[{self._label}] ... and {self._count - SHOWN_LINES:,} lines more\n")
        super().close()


def owned(plugin: Any, owner: str) -> Any:
    """Note on a built plugin who it is, for messages about it; return it."""
    with contextlib.suppress(AttributeError):  # some classes take no attributes
        object.__setattr__(plugin, OWNER, owner)
    return plugin


def owner_of(plugin: Any) -> str:
    """Return who a built plugin is: kind, name, distribution and version; its class where nobody noted it."""
    return getattr(plugin, OWNER, type(plugin).__name__)


def reason_of(problem: BaseException) -> str:
    """Return what was raised, by which plugin and where, in one line; what a plugin says is cut."""
    if isinstance(problem, FusionBenchError) and not _is_a_guests(problem.__traceback__):
        return text_of(problem, most=None)
    owner, place = _origin(problem.__traceback__)
    return f"{owner}{type(problem).__name__}: {text_of(problem)}{place}"


def shared(reason: str) -> str:
    """Return a reason without the words of a plugin: they may quote rows, and reports and trackers are shared."""
    known, refused, words = reason.partition(_REFUSED)
    if refused:
        return f"{known}{refused}{words.partition(':')[0]}"
    found = re.fullmatch(
        rf"((?:[^:]*: )*?)(\w+): .*?({_PLACE})((?:; a plugin must not end the program)?)", reason, re.DOTALL
    )
    return reason if found is None else f"{found[1]}{found[2]}{found[3]}{found[4]}"


def text_of(problem: BaseException, most: int | None = SHOWN_CHARACTERS) -> str:
    """Return the first line of what an exception says, whatever its ``__str__`` does."""
    try:
        text = str(without_secrets(str(problem))).strip().split("\n", 1)[0]
    except BaseException as another:  # noqa: BLE001 - it is a plugin's, and may raise anything
        return f"(its words cannot be read: {type(another).__name__})"
    return text if most is None else cut(text, most)


def cut(text: str, most: int = SHOWN_CHARACTERS) -> str:
    """Return a text, or its beginning and how long it is."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text):,} characters)"


def described(problem: BaseException) -> str:
    """Return what was raised, what it says, cut, and where."""
    return f"{type(problem).__name__}: {text_of(problem)}{_origin(problem.__traceback__)[1]}"


def _is_a_guests(trace: TracebackType | None) -> bool:
    """Whether what was raised last came from code of somebody else."""
    module = ""
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        trace = trace.tb_next
    return bool(module) and module.partition(".")[0] not in OWN


def _origin(trace: TracebackType | None) -> tuple[str, str]:
    """Whose method was innermost, and the innermost line."""
    owner, place = "", ""
    while trace is not None:
        found = trace.tb_frame.f_locals.get("self")
        if found is not None:
            with contextlib.suppress(Exception):  # a guest's attributes may do anything
                owner = str(getattr(found, OWNER, owner))
        place = f" ({trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno})"
        trace = trace.tb_next
    return f"{owner}: " if owner else "", place
