"""Files of a store: written whole or not at all, set aside where they are damaged."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fusionbench.errors import WorkspaceError


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a file to read it from its beginning and write at its end; it is made when it is not there."""
    try:
        file = path.open("a+b")
    except OSError as problem:
        raise WorkspaceError(f"{path} cannot be written: {problem.strerror}") from problem
    with file:
        file.seek(0)
        yield file


def set_aside(path: Path) -> None:
    """Rename a damaged file, so that it is made again and can be looked at."""
    # another process may have done it already
    with suppress(FileNotFoundError):
        path.replace(path.with_name(f"{path.name}.damaged"))


def read_json(path: Path) -> dict[str, Any] | None:
    """Return what a file holds; None where there is none, or it is damaged and set aside.

    Raises:
        WorkspaceError: It cannot be read.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise WorkspaceError(f"{path} cannot be read: {problem.strerror}") from problem
    except ValueError:  # not JSON, or not text
        set_aside(path)
        return None
    return content


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
        draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            with draft.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as problem:
        raise WorkspaceError(f"{path} cannot be written: {problem.strerror}") from problem
