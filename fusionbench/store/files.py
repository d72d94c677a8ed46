"""One way to keep a folder of files that several processes use: hold a name, draft, publish by rename, sweep.

::

    events-0123                  an entry, a file or a folder: whole from the moment that it has its name
    .events-0123.<32>.partial    a draft, or what a killed process left of one: never read
    .events-0123.resumable       the same, and whoever makes the entry next goes on with it
    .<32>.claim                  names that a process holds, one a line
    .<32>.lock                   locked as long as it holds them; the system lets go of it when the process dies
    .held                        locked while somebody looks at claims or makes one: a moment; it is never removed

A claim holds any number of names by one open file, and no name stands in the way of another. What is locked while others
may remove it has a name that is drawn once (``<32>``: hexadecimal digits), so nobody waits for a file that is gone.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fusionbench.errors import FusionBenchError, WorkspaceError
from fusionbench.store.integrity import Damaged

if TYPE_CHECKING:
    from filelock import BaseFileLock

ABANDONED_SECONDS = 3600.0
PARTIAL, RESUMABLE, CLAIM, LOCK, GUARD = ".partial", ".resumable", ".claim", ".lock", ".held"
REMEDY = "free some space, mend the permissions, or choose another folder with --workspace"
# the last form is that of earlier versions
_DRAFT = re.compile(r"\.(?P<name>.+?)([.-][0-9a-f]{32})?\.partial|\.(?P<older>.+)[.-][0-9a-f]{32}")
_POLL_SECONDS, _GUARD_POLL_SECONDS = 0.1, 0.005

Found = TypeVar("Found")


class Taken(Exception):  # noqa: N818 - whoever asked for the name says what that means
    """Somebody else holds a name.

    Args:
        name: Which.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def unwritable(what: object, problem: OSError, remedy: str = REMEDY) -> WorkspaceError:
    """Return the error that says what cannot be written, why, and what to do."""
    reason = problem.strerror or str(problem) or type(problem).__name__
    return WorkspaceError(f"{what} cannot be written: {reason}; {remedy}")


# --------------------------------------------------------------------------------------------
# a folder of entries


class Folder:
    """A folder of entries, each there whole or not at all, whatever happens to the processes that use it.

    Args:
        path: The folder; made when something is written.
        title: What messages call it.
        private: Whether entries are for their owner only.
        abandoned: Seconds for which a draft must be untouched before it counts as left by a dead process. Drafts of
            living processes on this machine are safe by their locks; the time is for machines that share a file system
            and do not see each other's.
    """

    def __init__(
        self, path: Path, title: str = "folder", *, private: bool = False, abandoned: float = ABANDONED_SECONDS
    ) -> None:
        self.path, self.title = path, title
        self._private, self._abandoned = private, abandoned

    def entry(
        self,
        name: str,
        read: Callable[[Path], Found | None],
        make: Callable[[Path], None],
        waits: Callable[[], None],
        *,
        resumable: bool = False,
        say: Callable[[str], None] | None = None,
    ) -> Found:
        """Return an entry, and make it where it is not there or is damaged.

        Of two processes that want the same one, one makes it and the other waits. An entry that is there is only read, so
        the folder may be read-only.

        Args:
            name: Of the entry.
            read: Returns what is at a path; None where nothing is, or something that is damaged; raises :class:`Damaged`
                to say in which way. What is damaged is set aside and made again.
            make: Fills a folder with the entry's files.
            waits: Called once before another process is waited for.
            resumable: Whether ``make`` is given what an interrupted one left, to go on with it.
            say: Told what is damaged.

        Raises:
            WorkspaceError: The folder cannot be written, or what was written cannot be read back.
        """
        place = self.path / name
        self.sweep()
        found, _ = _looked_at(place, read)
        if found is not None:
            return found
        try:
            with self.held(name, waits=waits):
                found, problem = _looked_at(place, read)  # another process may have made it while we waited
                if found is None:
                    if problem is not None:
                        _put_away(place, problem, say)
                    with self.draft(name, lambda path: _looked_at(path, read)[0] is not None, resumable=resumable) as d:
                        make(d)
                    found, _ = _looked_at(place, read)
        except OSError as problem:
            raise unwritable(
                f"{self.title} {self.path}", problem
            ) from None  # entries are made of rows: no traceback of it
        if found is None:
            raise WorkspaceError(f"{place} was written and cannot be read back; check the disk")
        return found

    @contextmanager
    def draft(
        self, name: str, whole: Callable[[Path], bool] = Path.exists, *, resumable: bool = False
    ) -> Iterator[Path]:
        """Give a folder to fill: it gets its name when the block ends well, and is removed when not.

        Args:
            name: Of the entry; hold it, where two processes could make it.
            whole: Whether an entry of this name that is there already is whole. It stays then; a damaged one goes.
            resumable: Give what an interrupted block left, and leave it there again, unless the error says that it is of
                no use (a :class:`FusionBenchError`).
        """
        path = self.path / (f".{name}{RESUMABLE}" if resumable else _drawn(name))
        path.mkdir(mode=0o700 if self._private else 0o777, parents=True, exist_ok=resumable)
        try:
            yield path
            _publish(path, self.path / name, whole)
        except BaseException as problem:
            if not resumable or isinstance(problem, FusionBenchError):
                shutil.rmtree(path, ignore_errors=True)
            raise

    # ---------------------------------------------------------------- names that are held

    @contextmanager
    def held(self, *names: str, waits: Callable[[], None] | None = None) -> Iterator[None]:
        """Hold names for this process; the system lets go of them when it dies.

        Args:
            names: As many as are wanted together: all of them are held, or none. Without one nothing is written.
            waits: Called once before another process is waited for; None: nobody is waited for.

        Raises:
            Taken: Somebody else holds one of them, and ``waits`` is None.
            OSError: The folder cannot be written.
        """
        if not names:
            yield
            return
        claim = self._claim(names, waits)
        try:
            yield
        finally:
            claim.let_go()

    def _claim(self, names: Iterable[str], waits: Callable[[], None] | None) -> _Claim:
        wanted, waited = set(names), False
        while True:
            with self._guarded():
                taken = wanted & self._names_held()
                if not taken:
                    return _Claim.made(self.path, wanted)
            if waits is None:
                raise Taken(min(taken))
            if not waited:
                waits()
                waited = True
            time.sleep(_POLL_SECONDS)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Be the only one that looks at claims or makes one."""
        self.path.mkdir(parents=True, exist_ok=True)
        with _file_lock(self.path / GUARD).acquire(poll_interval=_GUARD_POLL_SECONDS):
            yield

    def _names_held(self) -> set[str]:
        """Return what living processes hold; what dead ones claimed is removed. Only under the guard."""
        found: set[str] = set()
        for path in self.path.glob(f".*{LOCK}"):
            lock = _locked(path)
            if lock is None:
                found |= _names_in(path.with_suffix(CLAIM))
            else:
                _Claim(path, lock).let_go()
        return found

    # ---------------------------------------------------------------- what dead processes left

    def sweep(self) -> None:
        """Remove drafts that dead processes left, and their locks; nothing where the folder may only be read."""
        with suppress(OSError):
            with os.scandir(self.path) as entries:
                hidden = [self.path / e.name for e in entries if e.name.startswith(".")]
            drafts = [path for path in hidden if _DRAFT.fullmatch(path.name)]
            before = _clock_of(self.path) - self._abandoned if drafts else 0.0
            left = [path for path in drafts if _modified(path) <= before]
            for path in left:
                if not path.is_dir():  # a file is written in a moment, and nobody holds its name
                    _discard(path)
            folders = [path for path in left if path.is_dir()]
            if folders or any(path.suffix == LOCK for path in hidden):
                self._remove_unless_held(folders)

    def forget_resumable(self, beginning: str) -> None:
        """Remove resumable drafts of names with a beginning, but for those that somebody holds."""
        self._remove_unless_held(list(self.path.glob(f".{beginning}*{RESUMABLE}")))

    def _remove_unless_held(self, drafts: Sequence[Path]) -> None:
        with self._guarded():
            held = self._names_held()
            for path in drafts:
                if _name_of(path) not in held:
                    shutil.rmtree(path, ignore_errors=True)


@dataclass(frozen=True)
class _Claim:
    """A lock, with the names that it stands for in a file beside it."""

    path: Path
    lock: BaseFileLock

    @classmethod
    def made(cls, folder: Path, names: set[str]) -> _Claim:
        """Claim names that nobody holds; only under the guard."""
        path = folder / f".{uuid.uuid4().hex}{LOCK}"
        lock = _locked(path)
        assert lock is not None, "the name was drawn for this lock"
        claim = cls(path, lock)
        try:
            path.with_suffix(CLAIM).write_text("\n".join(sorted(names)), encoding="utf-8")
        except BaseException:
            claim.let_go()
            raise
        return claim

    def let_go(self) -> None:
        """Remove both files; nobody takes a lock of this name again."""
        _discard(self.path.with_suffix(CLAIM))
        self.lock.release()
        _discard(self.path)


def _names_in(path: Path) -> set[str]:
    try:
        return set(path.read_text(encoding="utf-8").splitlines())
    except FileNotFoundError:  # it is let go just now
        return set()


def _locked(path: Path) -> BaseFileLock | None:
    """Lock a file; None where somebody else has it."""
    from filelock import Timeout

    lock = _file_lock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


def _file_lock(path: Path) -> BaseFileLock:
    from filelock import FileLock  # it takes as long to import as a command that only lists

    path.touch()  # with the rights that this user gives to files, so that a group can share the folder
    return FileLock(path)


def _drawn(name: str) -> str:
    return f".{name}.{uuid.uuid4().hex}{PARTIAL}"


def _name_of(draft: Path) -> str:
    """Return the name that a draft was to get."""
    found = _DRAFT.fullmatch(draft.name)
    return (found["name"] or found["older"]) if found is not None else draft.name[1:].removesuffix(RESUMABLE)


def _publish(draft: Path, place: Path, whole: Callable[[Path], bool]) -> None:
    """Give a draft its name."""
    for path in draft.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())  # the name must not outlive a power cut that the content does not
    if place.exists() and not whole(place):
        damaged = place.with_name(_drawn(place.name))
        with suppress(FileNotFoundError):  # another process has just done the same
            place.rename(damaged)
        shutil.rmtree(damaged, ignore_errors=True)
    try:
        draft.rename(place)
    except OSError:
        if not whole(place):
            raise
        shutil.rmtree(draft, ignore_errors=True)  # another process was faster, with the same content


def _clock_of(folder: Path) -> float:
    """What the file system says that it is now, whatever this machine's clock says: drafts are dated by it."""
    path = folder / f".{uuid.uuid4().hex}.clock"
    path.touch()
    try:
        return path.stat().st_mtime
    finally:
        _discard(path)


def _modified(path: Path) -> float:
    """When a draft was touched last; in the future where it is gone meanwhile."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _discard(path: Path) -> None:
    with suppress(OSError):  # removed by somebody else, or still open there
        path.unlink(missing_ok=True)


def _looked_at(place: Path, read: Callable[[Path], Found | None]) -> tuple[Found | None, str | None]:
    """Return what is read, and what is wrong with what lies there."""
    try:
        found = read(place)
    except Damaged as problem:
        return None, str(problem)
    return found, "it is not complete" if found is None and place.exists() else None


def _put_away(place: Path, problem: str, say: Callable[[str], None] | None) -> None:
    """Set a damaged entry aside, and say so."""
    (say or to_standard_error)(damage_of(place, problem, set_aside(place)))


# --------------------------------------------------------------------------------------------
# single files


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a file to read it from its beginning and write at its end; it is made when it is not there."""
    try:
        file = path.open("a+b")
    except OSError as problem:
        raise unwritable(path, problem) from problem
    with file:
        file.seek(0)
        yield file


def set_aside(path: Path) -> Path:
    """Rename a damaged file or folder, so that it is made again and can be looked at; return its new name."""
    aside = path.with_name(f"{path.name}.damaged")
    # another process may have done it already
    with suppress(FileNotFoundError):
        if aside.is_dir():
            shutil.rmtree(aside, ignore_errors=True)
        path.replace(aside)
    return aside


def to_standard_error(message: str) -> None:
    """Say something where nobody else shows it."""
    sys.stderr.write(f"{message}\n")


def read_json(path: Path, check: Callable[[Any], dict[str, Any]], say: Callable[[str], None]) -> dict[str, Any] | None:
    """Return what a file holds; None where there is none, or it is damaged and set aside.

    Args:
        path: The file.
        check: Returns what is used of the content, or raises :class:`Damaged`.
        say: Told what is damaged.

    Raises:
        WorkspaceError: It cannot be read.
    """
    try:
        return check(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise WorkspaceError(f"{path} cannot be read: {problem.strerror}") from problem
    except Damaged as problem:
        reason = str(problem)
    except (ValueError, RecursionError):  # not JSON, or not text
        reason = "it is no JSON"
    say(damage_of(path, reason, set_aside(path)))
    return None


def damage_of(path: Path, reason: str, aside: Path) -> str:
    """Return the sentence that says what is damaged, and what was done about it."""
    return f"warning: {path}: damaged: {reason}; set aside as {aside.name}, and made again"


def is_json(line: bytes) -> bool:
    """Whether a line was written to its end."""
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all.

    Raises:
        WorkspaceError: The folder is read-only or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(_drawn(path.name))
        try:
            with draft.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as problem:
        raise unwritable(path, problem) from problem
