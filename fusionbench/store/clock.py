"""What time it is for a folder: machines that share it need not agree on the time; their files are dated by its file system."""

from __future__ import annotations

import uuid
from pathlib import Path


def clock_of(folder: Path) -> float:
    """Return the seconds that a file has which is written into a folder now, whatever this machine's clock says.

    Raises:
        OSError: The folder cannot be written.
    """
    path = folder / f".{uuid.uuid4().hex}.clock"
    path.touch()
    try:
        return path.stat().st_mtime
    finally:
        path.unlink(missing_ok=True)
