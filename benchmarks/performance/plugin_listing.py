"""How much longer ``fusionbench list`` takes when many plugins are installed.

    python benchmarks/performance/plugin_listing.py

Writes what an installer writes for 100 distributions with one strategy each, and times the command, each time in a
fresh process, with them on the path and without, in turn. Nothing is installed: the folder is thrown away.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMAND = [sys.executable, "-c", "from fusionbench.cli import main; main(['list'])"]


def write_distributions(folder: Path, count: int) -> None:
    for i in range(count):
        info = folder / f"dummy_fusion_{i}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: dummy-fusion-{i}\nVersion: 1.0\n", encoding="utf-8"
        )
        (info / "entry_points.txt").write_text(
            f"[fusionbench]\nstrategies.dummy_{i} = dummy_fusion_{i}\n", encoding="utf-8"
        )
        (folder / f"dummy_fusion_{i}.py").write_text("raise RuntimeError('listing imported it')\n", encoding="utf-8")


def seconds(folder: Path | None) -> tuple[float, int]:
    """Seconds of one listing, and how many lines it printed."""
    path = [str(folder)] if folder else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*path, os.environ.get("PYTHONPATH", "")])}
    begun = time.perf_counter()
    done = subprocess.run(COMMAND, env=environment, capture_output=True, text=True, check=True)
    return time.perf_counter() - begun, len(done.stdout.splitlines())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plugins", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=11)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        write_distributions(Path(name), given.plugins)
        seconds(None), seconds(Path(name))  # files are in memory from here on
        pairs = [(seconds(None), seconds(Path(name))) for _ in range(given.repeats)]
    without, beside = ([run[0] for run in runs] for runs in zip(*pairs, strict=True))
    listed = pairs[0][1][1] - pairs[0][0][1]
    assert listed == given.plugins, f"{listed} of {given.plugins} were listed"
    for what, times in (("without", without), (f"with {given.plugins} more", beside)):
        print(f"{what:<16} median {statistics.median(times):.3f} s, {min(times):.3f} to {max(times):.3f}")
    more = [b - a for a, b in zip(without, beside, strict=True)]
    print(
        f"{'difference':<16} median {statistics.median(more):.3f} s, fastest against fastest {min(beside) - min(without):.3f}"
    )


if __name__ == "__main__":
    main()
