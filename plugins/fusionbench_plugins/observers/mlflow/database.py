"""The database file of a workspace: made under another name and renamed when it is whole; a half-made one is set aside.

MLflow makes its tables in dozens of steps. A process that is killed between two of them leaves a file that MLflow can
neither use nor mend. A whole one always holds an experiment, so that what holds none can be made again without a loss.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from fusionbench.store.files import PARTIAL, set_aside

BESIDE: Final = ("-wal", "-shm", "-journal")
"""Endings of what SQLite keeps beside a database."""


def file_of(uri: str) -> Path | None:
    """Return the file that an address names; None where it is a server's."""
    found = uri.removeprefix("sqlite:///") if uri.startswith("sqlite:///") else ""
    return Path(found.partition("?")[0]).absolute() if found and not found.startswith(":memory:") else None


def is_half_made(database: Path) -> bool:
    """Whether a file is there that MLflow did not finish, or that is no database."""
    if not database.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT 1 FROM experiments LIMIT 1").fetchone() is None
    except sqlite3.OperationalError as problem:  # somebody else writes just now: then it is whole
        return "locked" not in str(problem) and "unable to open" not in str(problem)
    except sqlite3.DatabaseError:
        return True


def put_half_made_away(database: Path) -> Path | None:
    """Set a half-made database aside, and return its new name; only by whoever writes alone."""
    if not is_half_made(database):
        return None
    for ending in BESIDE:
        set_aside(database.with_name(database.name + ending))
    return set_aside(database)


def made(database: Path, artifacts: str | None) -> None:
    """Make a database with MLflow's tables, where there is none that is whole; only by whoever writes alone.

    Args:
        database: The file.
        artifacts: Where the files of runs lie; None: where MLflow puts them.
    """
    put_half_made_away(database)
    if database.exists():
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    for left in database.parent.glob(f".{database.name}.*{PARTIAL}*"):  # of a process that was killed
        _discard(left)
    draft = database.with_name(f".{database.name}.{uuid.uuid4().hex}{PARTIAL}")
    try:
        _make(draft, artifacts)
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        draft.rename(database)
    finally:
        for left in (draft, *(draft.with_name(draft.name + ending) for ending in BESIDE)):
            _discard(left)


def _make(draft: Path, artifacts: str | None) -> None:
    from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore(f"sqlite:///{draft}", artifacts or DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH)
    store.engine.dispose()
    if is_half_made(draft):
        raise OSError(f"{draft} was made without an experiment")


def write_ahead(database: Path) -> None:
    """Let SQLite append to a log: a commit waits for the disk once instead of three times, and readers do not wait.

    The file remembers it; with SQLite's own default a curve takes about twice as long.
    """
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


def _discard(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)
