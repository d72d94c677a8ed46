"""How long does the demo take, stage by stage? Fresh workspaces, in turns with another installation if one is given.

    python benchmarks/performance/demo.py --folder /tmp/performance --rounds 5
    python benchmarks/performance/demo.py --folder /tmp/performance --against ../before/.venv/bin/python

Stages are those that the display shows; `everything` is the whole command, from its start to its end. Processor time is that
of the command with all its processes. The leaderboards of the last two runs are compared to three digits, as the terminal
prints them: where they differ, the script says so and ends with 1.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from populations import markdown, write

HOUSE = Path(__file__).resolve().parents[1]


@dataclass
class Installation:
    """A command, and what it took in each round.

    Args:
        name: For the table.
        python: Its interpreter.
        seconds: By stage, one for each round.
        processor: Of the whole command.
        megabytes: Peak memory of its largest process.
    """

    name: str
    python: Path
    seconds: dict[str, list[float]] = field(default_factory=dict)
    processor: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)

    def run(self, file: Path, workspace: Path, changes: Sequence[str]) -> None:
        """Run the demo in a workspace of its own."""
        shutil.rmtree(workspace, ignore_errors=True)
        start, before = time.perf_counter(), os.times()
        words = [
            str(self.python),
            "-m",
            "fusionbench",
            "run",
            str(file),
            "--json",
            "--workspace",
            str(workspace.absolute()),
        ]
        marks = dict[str, float]()
        # in a folder without a checkout, which Python would take before the installation
        command = [*words, *changes]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, encoding="utf-8", cwd=workspace.parent
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                self._note(json.loads(line), marks)
        after = os.times()
        if process.returncode:
            raise SystemExit(f"{self.name}: the demo ended with {process.returncode}")
        self.seconds.setdefault("everything", []).append(time.perf_counter() - start)
        self.processor.append(sum(after[2:4]) - sum(before[2:4]))
        self.megabytes.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10)

    def _note(self, event: Mapping[str, Any], marks: dict[str, float]) -> None:
        stage, now = event.get("title"), time.perf_counter()
        if event.get("event") != "stage" or stage is None:
            return
        if stage not in marks:
            marks[stage] = now
            self.seconds.setdefault(stage, []).append(0.0)
        self.seconds[stage][-1] = now - marks[stage]


def lines_of(installations: Sequence[Installation]) -> list[dict[str, Any]]:
    """Return a line for each stage of each installation; those below a tenth of a second are left out."""
    found = []
    for installation in installations:
        for stage, seconds in installation.seconds.items():
            if median(seconds) >= 0.1:
                found.append(_line(installation.name, stage, seconds))
        found.append(_line(installation.name, "processor time, all processes", installation.processor))
    return found


def _line(name: str, stage: str, values: Sequence[float]) -> dict[str, Any]:
    spread = {"seconds": round(median(values), 1), "fastest": round(min(values), 1), "slowest": round(max(values), 1)}
    return {"installation": name, "stage": stage, **spread, "runs": len(values)}


def differences(one: Path, other: Path) -> list[str]:
    """Return what two leaderboards print differently; times and memory are left out."""
    tables = [_leaderboard(path) for path in (one, other)]
    found = [f"{line}: in one table only" for line in tables[0].keys() ^ tables[1].keys()]
    for line in sorted(tables[0].keys() & tables[1].keys()):
        for column, value in tables[0][line].items():
            if value != tables[1][line].get(column):
                found.append(f"{' / '.join(line)}: {column} is {value} and {tables[1][line].get(column)}")
    return found


def _leaderboard(workspace: Path) -> dict[tuple[str, str], dict[str, str]]:
    with (workspace / "reports" / "mimic_ihm" / "leaderboard.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    kept = [c for c in rows[0] if not any(word in c for word in ("second", "memory", "megabytes"))]
    return {(r["strategy"], r["imputer"]): {c: _rounded(r[c]) for c in kept} for r in rows}


def _rounded(text: str) -> str:
    try:
        return f"{float(text):.3f}"
    except ValueError:
        return text


def main() -> None:
    """Run it in turns, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the table and the workspaces go")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--against", type=Path, help="the interpreter of another installation")
    parser.add_argument("--set", action="append", default=[], help="as of fusionbench run, for both")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    installations = [Installation("this one", Path(sys.executable))]
    if options.against is not None:
        installations.append(Installation("the other one", options.against.absolute()))
    changes = [part for change in options.set for part in ("--set", change)]
    for number in range(options.rounds):
        for installation in installations:
            workspace = options.folder / f"demo-{installation.name.replace(' ', '-')}"
            installation.run(HOUSE / "mimic_ihm.yaml", workspace, changes)
            print(
                f"round {number + 1}, {installation.name}: {installation.seconds['everything'][-1]:.1f} s", flush=True
            )
    lines = lines_of(installations)
    caption = f"load average {os.getloadavg()[0]:.1f}; {len(os.sched_getaffinity(0))} cores"
    write(options.folder, {"demo": lines}, caption)
    print(markdown(lines))
    if len(installations) > 1:
        found = differences(*(options.folder / f"demo-{i.name.replace(' ', '-')}" for i in installations))
        print("\n".join(found) or "the leaderboards are the same")
        raise SystemExit(1 if found else 0)


if __name__ == "__main__":
    main()
