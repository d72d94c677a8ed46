"""How long ``fusionbench`` takes to answer, against a bare start of Python, and what many installed plugins add to ``list``.

    python benchmarks/performance/plugin_listing.py

Writes what an installer writes for 100 distributions with one strategy each, and times the commands, each time in a fresh
process, in turn with a bare start: by the clock, and in processor time. Nothing is installed: the folder is thrown away.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

BARE = [sys.executable, "-c", "pass"]
WHOLE = [sys.executable, "-c", "from fusionbench.cli import main; main()"]
INSTALLED = Path(sys.executable).with_name("fusionbench")
COMMAND = [str(INSTALLED)] if INSTALLED.is_file() else [sys.executable, "-m", "fusionbench"]


class Spent(NamedTuple):
    """What one process took, in seconds."""

    clock: float
    processor: float


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


def run(command: list[str], folder: Path | None = None) -> tuple[Spent, list[str]]:
    """Run a command; return what it took and the lines that it printed."""
    path = [str(folder)] if folder else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*path, os.environ.get("PYTHONPATH", "")])}
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    clock, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Spent(clock, sum(after[:2]) - sum(before[:2])), done.stdout.splitlines()


def row(name: str, times: list[Spent], bare: list[Spent]) -> str:
    """Return a row of the table: milliseconds by the clock and in processor time, and ratios to the bare start of a round."""
    clock, processor = ([1e3 * t for t in column] for column in zip(*times, strict=True))
    more = [t.clock / b.clock for t, b in zip(times, bare, strict=True)]
    spent = statistics.median(processor) / statistics.median(1e3 * b.processor for b in bare)
    return (
        f"| {name} | {statistics.median(clock):.1f} ({min(clock):.1f}, {max(clock):.1f}) | {statistics.median(more):.2f} "
        f"| {statistics.median(processor):.1f} | {spent:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plugins", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=30)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_distributions(folder, given.plugins)
        cases: dict[str, tuple[list[str], Path | None]] = {
            "`python -c pass`": (BARE, None),
            "`fusionbench --help`": ([*COMMAND, "--help"], None),
            "`fusionbench run --help`": ([*COMMAND, "run", "--help"], None),
            "`fusionbench --version`": ([*COMMAND, "--version"], None),
            "`python -m fusionbench --help`": ([sys.executable, "-m", "fusionbench", "--help"], None),
            "`fusionbench list`": ([*COMMAND, "list"], None),
            f"`fusionbench list`, {given.plugins} plugins more": ([*COMMAND, "list"], folder),
            "`--help` by the whole command line": ([*WHOLE, "--help"], None),
            "`list` by the plugin manager": ([*WHOLE, "list"], None),
        }
        printed = {what: run(*case)[1] for what, case in cases.items()}  # files are in memory from here on
        rounds = [{what: run(*case)[0] for what, case in cases.items()} for _ in range(given.repeats)]
    bare, _, _, _, _, quick, more, _, slow = cases
    listed = len(printed[more]) - len(printed[quick])
    assert listed == given.plugins, f"{listed} of {given.plugins} were listed"
    assert printed[quick] == printed[slow], "the quick listing is not the manager's"
    print("| | ms by the clock (fastest, slowest) | times a bare start | ms of a processor | times a bare start |")
    print("|---|---|---|---|---|")
    for what in cases:
        print(row(what, [r[what] for r in rounds], [r[bare] for r in rounds]))


if __name__ == "__main__":
    main()
