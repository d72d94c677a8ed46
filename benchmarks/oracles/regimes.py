"""The map of regimes that travels with the package: from the reports of a sweep to one file.

    fusionbench run benchmarks/regimes.yaml
    python benchmarks/oracles/regimes.py benchmarks/regimes.yaml

Reads what the sweep left in its workspace, trains nothing, and writes ``fusionbench/analysis/regimes/map.json``, on which
reports place other data. Without every regime of the file it writes nothing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fusionbench.analysis.regimes.charted import PACKAGED, RegimeMap
from fusionbench.config.reading import read_panels
from fusionbench.report.regimes.sweep import map_of
from fusionbench.report.suite import records_of


def sweep_of(path: Path, workspace: Path) -> RegimeMap:
    """Return the map of a benchmark file with a grid, from the reports in a workspace.

    Raises:
        ValueError: A panel has no report, or there is nothing to be said.
    """
    suite = read_panels(path).suite
    found = map_of(suite, records_of(suite, workspace))
    if found is None or len(found.regimes) < len(suite.grid):
        done = 0 if found is None else len(found.regimes)
        raise ValueError(f"{path}: {done} of {len(suite.grid)} panels have a report in {workspace}; run the file first")
    if any(not regime.place for regime in found.regimes):
        raise ValueError(f"{path}: subsets of the modalities were not scored; evaluation.subsets must be true")
    return found


def main() -> None:
    """Write the file, and say what it holds."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("benchmark", type=Path)
    parser.add_argument("--workspace", type=Path, default=Path("runs"))
    parser.add_argument("--to", type=Path, default=PACKAGED)
    given = parser.parse_args()
    found = sweep_of(given.benchmark, given.workspace)
    given.to.write_text(found.text(), encoding="utf-8")
    sys.stdout.write(f"{given.to}: {len(found.regimes)} regimes, {len(found.lines)} strategies, {found.made}\n")


if __name__ == "__main__":
    main()
