"""Which git revision a file belongs to; nothing where there is no git, no repository, or no commit."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

SECONDS = 10.0  # a work tree on a slow file system is not waited for longer


@dataclass(frozen=True)
class Revision:
    """Where a repository stands.

    Args:
        commit: Full hash of the commit that is checked out.
        dirty: True = tracked files differ from it, or the file asked for is not tracked.
        tracked: True = the file asked for belongs to the repository.
    """

    commit: str
    dirty: bool
    tracked: bool

    def __str__(self) -> str:
        return f"{self.commit} with changes" if self.dirty else self.commit


def revision_of(file: Path) -> Revision | None:
    """Return the revision of the repository that a file lies in, or None.

    Args:
        file: An existing file.
    """
    commit = _git(file.parent, "rev-parse", "--verify", "HEAD")
    changes = _git(file.parent, "status", "--porcelain", "--untracked-files=no")
    known = _git(file.parent, "ls-files", "--", file.name)
    if commit is None or changes is None or known is None:
        return None
    return Revision(commit, dirty=bool(changes) or not known, tracked=bool(known))


def _git(folder: Path, *words: str) -> str | None:
    command = ["git", "--no-optional-locks", "-C", str(folder), *words]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=SECONDS)  # noqa: S603 - fixed words, no shell
    except (OSError, subprocess.TimeoutExpired):  # git is not installed, or not fast enough
        return None
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else None  # names of any encoding
