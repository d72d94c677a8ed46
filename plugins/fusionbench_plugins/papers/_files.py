"""Where the benchmark files of papers lie: beside this package where it is installed, in the repository where it is worked on."""

from __future__ import annotations

from pathlib import Path


def benchmarks() -> Path:
    """Return the folder of benchmark files."""
    package = Path(__file__).resolve().parents[1]
    shipped = package / "benchmarks"
    return shipped if shipped.is_dir() else package.parents[1] / "benchmarks"
