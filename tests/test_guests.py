"""Guests end to end: a strategy in one file, and one in a distribution of its own, listed, trained and ranked."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.front import TOY, distribution, fusionbench, run_toy, strategy, toy_benchmark, write_yaml

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "guest-fusion"
version = "2.1"

[project.entry-points.fusionbench]
"strategies.guest" = "guest_fusion"
"""


def leaderboard(workspace: Path) -> dict[str, str]:
    """Area under the curves by strategy."""
    text = (workspace / "reports" / "toy" / "leaderboard.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return {row["strategy"]: row["area"] for row in rows if row["strategy"] != "prevalence"}


def test_a_guest_in_one_file_is_listed_trained_and_ranked(tmp_path):
    path = tmp_path / "my_fusion.py"
    path.write_text(strategy("my_votes"), encoding="utf-8")
    said = fusionbench("list", "strategies", "-p", path).out
    assert re.search(r"^strategies    my_votes             file my_fusion.py +\w.{10,}$", said, re.MULTILINE), said
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark(strategies=["sum", {"name": "my_votes", "scale": 0.5}]))
    outcome = run_toy(config, tmp_path / "runs", "-p", path)
    assert outcome.code == 0, outcome
    assert re.search("│ my_votes +│", outcome.out)
    assert 0 < float(leaderboard(tmp_path / "runs")["my_votes"]) <= 1


def test_a_changed_guest_is_trained_again_and_nobody_else(tmp_path):
    path = tmp_path / "my_fusion.py"
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark(strategies=["sum", "my_votes"]))
    for changed, expected in (("", 4), ("", 0), ("# changed\n", 2)):
        path.write_text(strategy("my_votes") + changed, encoding="utf-8")
        outcome = run_toy(config, tmp_path / "runs", "-p", path)
        assert f"done: {expected} models trained" in outcome.out, outcome


def test_a_guest_distribution_is_listed_trained_and_ranked(tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    (tmp_path / "site" / "guest_fusion_one.py").write_text(strategy("guest"), encoding="utf-8")
    distribution(tmp_path / "site", "guest-fusion", {"strategies.guest": "guest_fusion_one"}, version="2.1")
    assert "\nstrategies    guest                guest-fusion 2.1 " in fusionbench("list", "strategies").out
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark(strategies=["guest", "concat"]))
    outcome = run_toy(config, tmp_path / "runs")
    assert outcome.code == 0, outcome
    assert set(leaderboard(tmp_path / "runs")) == {"guest", "concat"}
    assert fusionbench("list", "--no-plugin", "guest-fusion").out.find(" guest ") == -1


def test_a_broken_guest_distribution_hinders_nobody_who_does_not_name_it(tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    (tmp_path / "site" / "guest_fusion_broken.py").write_text("import no_such_module\n", encoding="utf-8")
    distribution(tmp_path / "site", "guest-fusion", {"strategies.guest": "guest_fusion_broken"})
    others = write_yaml(tmp_path / "others.yaml", toy_benchmark(strategies=["sum"]))
    assert run_toy(others, tmp_path / "runs").code == 0
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark(strategies=["guest", "sum"]))
    outcome = run_toy(config, tmp_path / "runs")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(
        f"error: {config}:12: strategies[0]: fusion strategy 'guest' of guest-fusion is installed but did not load: "
        "ModuleNotFoundError: No module named 'no_such_module'."
    )
    listed = fusionbench("list", "--broken")
    assert listed.code == 1
    assert "broken        strategies.guest     guest-fusion: " in listed.out


@pytest.mark.slow
@pytest.mark.skipif(find_spec("hatchling") is None, reason="needs hatchling, to build the guest without a network")
def test_a_guest_that_is_really_installed_is_listed_trained_and_ranked(tmp_path):
    project = tmp_path / "guest"
    project.mkdir()
    (project / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    (project / "guest_fusion.py").write_text(strategy("guest"), encoding="utf-8")
    python = new_environment(tmp_path / "venv")
    offline = ["--no-build-isolation", "--no-deps", "--no-index", "--disable-pip-version-check"]
    call(python, "-m", "pip", "install", "--quiet", *offline, str(project))
    command = [python, "-c", "from fusionbench.cli import main; main()"]
    assert "strategies    guest                guest-fusion 2.1 " in call(*command, "list", "strategies")
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark(strategies=["guest", "concat"]))
    call(*command, "run", str(config), "-p", TOY, "--workspace", str(tmp_path / "runs"))
    assert set(leaderboard(tmp_path / "runs")) == {"guest", "concat"}


def new_environment(folder: Path) -> str:
    """Make a virtual environment that sees what this one has, and return its interpreter."""
    call(sys.executable, "-m", "venv", "--without-pip", str(folder))
    python = str(folder / "bin" / "python")
    site = call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    ours = [p for p in sys.path if p.endswith("site-packages")]
    lines = [f"import site; site.addsitedir({folder!r})" for folder in ours]
    sources = [str(ROOT), str(ROOT / "plugins")]
    (Path(site) / "borrowed.pth").write_text("\n".join([*lines, *sources, ""]), encoding="utf-8")
    return python


def call(*command: str) -> str:
    """Run a command that must succeed; return what it prints."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, env={**os.environ, "PYTHONPATH": ""}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
