"""Where the tests find the reference material that lies beside the checkout."""

from __future__ import annotations

from pathlib import Path

import pytest


def shared_folder(*parts: str) -> Path:
    """Return a path under ``../shared``; skip the calling test where the folder is not there."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    path = folder.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs {'/'.join(('shared', *parts))} beside the checkout")
    return path
