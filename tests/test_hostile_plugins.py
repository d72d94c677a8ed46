"""Whatever a plugin does, its cells fail with a reason, the others are what they are without it, and nothing says success.

A quick few run in this process; every kind at every place, by file and by entry point, is in the slow suite.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.front import TOY, distribution, fusionbench, toy_benchmark, write_yaml
from tests.hostile import ENDS, PLACES, SETS, write
from tests.shared import shared_folder

SETTINGS = {"imputers": ["zero"], "observers": ["files", "html"], "splits": {"folds": 2}, "training": {"epochs": 1}}
GOOD = ["concat", "late_average"]
TIMED = ("seconds", "memory")


def config(folder: Path, strategies: list[str], **changes: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    document = toy_benchmark(strategies=strategies, **{**SETTINGS, **changes})
    return write_yaml(folder / f"{len(strategies)}.yaml", document)


def cells(workspace: Path) -> list[dict[str, str]]:
    """What is stored of the good ones, but for times."""
    (path,) = workspace.glob("reports/*/cells.csv")
    lines = (line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    rows = [{k: v for k, v in row.items() if not k.startswith(TIMED)} for row in csv.DictReader(lines)]
    return [row for row in rows if row["strategy"] in GOOD]


def weights(workspace: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in (workspace / "results" / "weights").iterdir()}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The good ones without anybody else."""
    folder = tmp_path_factory.mktemp("alone")
    found = fusionbench("run", config(folder, GOOD), "-p", TOY, "--workspace", folder / "runs", "--quiet")
    assert found.code == 0, found.err
    return folder / "runs"


def among(alone: Path, folder: Path, plugin: Path, *more: object):
    """Run the good ones beside a plugin, and compare them with what they are alone."""
    runs = folder / "runs"
    found = fusionbench(
        "run",
        config(folder, [GOOD[0], "evil", GOOD[1]]),
        "-p",
        TOY,
        "-p",
        plugin,
        "--workspace",
        runs,
        "--quiet",
        *more,
    )
    said = found.out + found.err
    assert "Traceback" not in said
    assert torch.get_default_dtype() == torch.float32
    return found, runs


def unharmed(alone: Path, runs: Path) -> None:
    assert cells(runs) == cells(alone)
    wanted, found = weights(alone), weights(runs)
    assert {name: found.get(name) for name in wanted} == wanted


@pytest.mark.parametrize("what", ["leave", "own", "interrupt", "mute"])
def test_what_would_end_a_run_fails_its_own_cells_only(alone, tmp_path, what):
    found, runs = among(alone, tmp_path, write(tmp_path, "evil", "forward", ENDS[what]))
    assert found.code == 1
    assert "evil / zero, fold 0" in found.out
    unharmed(alone, runs)
    assert len(found.out) < 20_000


@pytest.mark.parametrize("what", ["environment", "output", "hook of all modules"])
def test_what_changes_things_for_everybody_changes_nothing_for_the_others(alone, tmp_path, what):
    found, runs = among(alone, tmp_path, write(tmp_path, "evil", "forward", SETS[what]))
    assert found.code in (0, 1)
    unharmed(alone, runs)


@pytest.mark.parametrize("what", ["exit 0", "own"])
def test_a_constructor_that_would_end_the_run_fails_its_own_cells_only(alone, tmp_path, what):
    found, runs = among(alone, tmp_path, write(tmp_path, "evil", "constructor", ENDS[what]))
    assert found.code == 1
    unharmed(alone, runs)


@pytest.mark.parametrize("place", ["module", "hook"])
@pytest.mark.parametrize("what", ["exit 0", "leave"])
def test_a_file_that_cannot_load_is_an_error_whether_or_not_it_is_named(tmp_path, place, what):
    plugin = write(tmp_path, "evil", place, ENDS[what])
    found = fusionbench("run", config(tmp_path, GOOD), "-p", TOY, "-p", plugin, "--workspace", tmp_path / "runs")
    assert found.code == 2
    assert f"-p {plugin} of file evil.py did not load" in found.err
    assert "Traceback" not in found.err
    assert not (tmp_path / "runs").exists()


def test_no_word_of_a_plugins_error_is_in_the_report(alone, tmp_path):
    _, runs = among(alone, tmp_path, write(tmp_path, "evil", "forward", ENDS["canary"]))
    for path in (runs / "reports").rglob("*"):
        if path.is_file():
            assert b"CANARY" not in path.read_bytes(), path
    assert any(b"CANARY" in p.read_bytes() for p in (runs / "results" / "failures").iterdir())


OBSERVER = """
import os, sys
from fusionbench import hookimpl


class Evil:
    def __init__(self, config, workspace):
        pass

    @hookimpl
    def {hook}(self, {argument}):
        {what}


@hookimpl
def register_observers(register):
    register("evil", Evil)
"""


@pytest.mark.parametrize(
    ("hook", "argument"),
    [
        ("fusionbench_cell_finished", "outcome"),
        ("fusionbench_report_sections", "summary"),
        ("fusionbench_run_finished", "summary"),
    ],
)
@pytest.mark.parametrize("what", ["sys.exit(0)", "os.chdir('/')"])
def test_an_observer_costs_nobody_a_table(alone, tmp_path, hook, argument, what):
    plugin = tmp_path / "watch.py"
    plugin.write_text(OBSERVER.format(hook=hook, argument=argument, what=what), encoding="utf-8")
    path = config(tmp_path, GOOD, observers=["evil", "files", "html"])
    found = fusionbench("run", path, "-p", TOY, "-p", plugin, "--workspace", tmp_path / "runs", "--quiet")
    assert found.code == (0 if "chdir" in what else 2)
    assert "Traceback" not in found.err
    unharmed(alone, tmp_path / "runs")
    assert (tmp_path / "runs" / "reports" / "toy" / "report.html").exists()


@pytest.mark.parametrize(
    "name", ["f_bigmsg", "f_chdir", "f_device", "f_exit", "f_raise", "good", "i_base", "i_reclimit", "i_signal"]
)
def test_the_plugins_of_the_reference(alone, tmp_path, name):
    plugin = shared_folder("faults", "plugins", f"{name}.py")
    if name == "i_base":
        assert fusionbench("list", "-p", plugin).code == 0
        found = fusionbench("run", config(tmp_path, GOOD), "-p", TOY, "-p", plugin, "--workspace", tmp_path / "runs")
        assert found.code == 2
        assert "did not load: file i_base.py: X: base (i_base.py:" in found.err
        return
    found, runs = among(alone, tmp_path, plugin)
    unharmed(alone, runs)
    assert found.code == (0 if name in ("good", "f_chdir", "f_device", "i_reclimit", "i_signal") else 1)


# --------------------------------------------------------------------------------------------
# every kind at every place


def in_a_process(folder: Path, arguments: list[object], path: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-m", "fusionbench", *map(str, arguments)]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=300, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize("by", ["file", "entry point"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("what", [*ENDS, *SETS])
def test_every_kind_at_every_place(alone, tmp_path, what, place, by):
    """Takes long: each is a process of its own, for what a plugin may do to one."""
    plugin = write(tmp_path, "evil", place, {**ENDS, **SETS}[what])
    tuning = {"tuning": {"trials": 2}} if place == "search" else {}
    path = config(tmp_path, [GOOD[0], "evil", GOOD[1]], **tuning)
    given = ["-p", TOY, "--workspace", "runs", "--quiet"]
    if by == "file":
        found = in_a_process(tmp_path, ["run", path, "-p", plugin, *given])
    else:
        folder = distribution(tmp_path / "installed", "evil-guest", {"strategies.evil": "evil"})
        shutil.copy(plugin, folder)
        found = in_a_process(tmp_path, ["run", path, *given], path=str(folder))
    said = found.stdout + found.stderr
    assert "Traceback" not in said, said[-3000:]
    assert "CANARY" not in "".join(
        p.read_text(encoding="utf-8", errors="replace") for p in (tmp_path / "runs" / "reports").rglob("*.html")
    )
    assert len(said) < 100_000
    if found.returncode == 2:  # it was refused before anything was trained, with its name
        assert "evil" in said
        assert not (tmp_path / "runs" / "results" / "fits").is_dir() or place == "constructor"
        return
    assert found.returncode in (0, 1), said[-3000:]
    assert found.returncode == 1 or what in SETS or place == "search"
    if place != "search":
        unharmed(alone, tmp_path / "runs")
