"""Helpers for tests of the front of the house: run the command line, write benchmark files, fake a distribution."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from fusionbench.cli import app, guarded

TOY = str(Path(__file__).with_name("toy.py"))
TABLES = ("leaderboard.csv", "curves.csv", "cells.csv")


class Outcome(NamedTuple):
    """What a command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


def fusionbench(*arguments: object) -> Outcome:
    """Run the command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = guarded(lambda: app([str(a) for a in arguments], standalone_mode=False))
    assert "Traceback" not in err.getvalue()
    return Outcome(code, out.getvalue(), err.getvalue())


def python(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter."""
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    spoken = environment.get("PYTHONIOENCODING", "utf-8")
    return subprocess.run(
        command, capture_output=True, encoding=spoken, check=False, timeout=120, env={**os.environ, **environment}
    )


def started(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    """Start the command line in a process of its own, one that Ctrl-C reaches.

    A shell that starts the tests in the background has them ignore SIGINT, and what they start inherits that.
    """
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{heard}; from fusionbench.cli import main; main()", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )


def toy_benchmark(**changes: Any) -> dict[str, Any]:
    """Return the smallest benchmark that trains: 120 rows, 2 folds, 2 epochs."""
    document = {
        "name": "toy",
        "task": {"name": "toy", "rows": 120},
        "encoders": {"a": "identity", "b": "identity", "c": "identity"},
        "model": {"width": 4},
        "strategies": ["concat", "sum"],
        "missingness": {"patterns": ["random"], "rates": [0, 0.5]},
        "splits": {"folds": 2},
        "training": {"epochs": 2, "batch_size": 32},
        "evaluation": {"resamples": 100},
        "observers": ["files"],
    }
    return {**document, **changes}


def write_yaml(path: Path, document: Any) -> Path:
    """Write a document, keys in their order."""
    path.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def run_toy(config: Path, workspace: Path, *more: object) -> Outcome:
    """Run a benchmark on the toy task."""
    return fusionbench("run", config, "-p", TOY, "--workspace", workspace, *more)


def tables(workspace: Path, name: str = "toy") -> dict[str, bytes]:
    """Return the bytes of the three tables that equal runs leave equal."""
    return {table: (workspace / "reports" / name / table).read_bytes() for table in TABLES}


def distribution(folder: Path, name: str, entry_points: dict[str, str], version: str = "1.0") -> Path:
    """Write what an installer writes: a ``.dist-info`` folder; modules are the caller's."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    lines = [f"{label} = {module}" for label, module in entry_points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[fusionbench]", *lines, ""]), encoding="utf-8")
    return folder


STRATEGY = '''
"""A guest: the mean of linear votes."""

from torch import nn

from fusionbench import FusionStrategy, hookimpl


class {cls}(FusionStrategy):
    """Adds up a linear vote of every modality.

    Args:
        spec: Widths and outputs.
        scale: Multiplies the votes.
    """

    def __init__(self, spec, scale: float = 1.0):
        super().__init__(spec)
        self.scale = scale
        self.heads = nn.ModuleDict({{n: nn.Linear(d, spec.num_outputs) for n, d in spec.dims.items()}})

    def forward(self, batch):
        return self.scale * sum(head(batch.observed(name)) for name, head in self.heads.items())


@hookimpl
def register_fusion_strategies(register):
    register("{name}", {cls})
'''


def strategy(name: str) -> str:
    """Return the source of a plugin file with one strategy."""
    return STRATEGY.format(name=name, cls=name.title().replace("_", ""))
