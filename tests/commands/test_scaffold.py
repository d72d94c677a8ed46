"""``fusionbench plugin new``: what it writes installs, passes its own tests and runs, as it is."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from fusionbench.commands.scaffold import SINGULAR_KINDS, Project
from fusionbench.contract.kinds import KINDS
from tests.front import fusionbench
from tests.test_guests import call, new_environment

ROOT = Path(__file__).resolve().parents[2]
FILES = {".gitignore", "LICENSE", "README.md", "benchmark.yaml", "pyproject.toml", ".github/workflows/test.yml"}


def new(folder, name, kind):
    outcome = fusionbench("plugin", "new", name, "--kind", kind, "--folder", folder)
    assert outcome.code == 0, outcome
    return folder / name


def run_in(project, *command):
    """Run a module in the project, as its author would, with this tree on the path."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")])}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_kind_of_plugin_can_be_begun():
    assert set(SINGULAR_KINDS.values()) == set(KINDS) - {"papers", "executors"}  # docs/papers.md, docs/hooks.md


@pytest.mark.parametrize("kind", SINGULAR_KINDS)
def test_a_new_project_is_whole_and_clean(tmp_path, kind):
    project = new(tmp_path, f"my-{kind}", kind)
    module = f"my_{kind}"
    written = {p.relative_to(project).as_posix() for p in project.rglob("*") if p.is_file()}
    assert written == FILES | {f"{module}.py", f"tests/test_{module}.py"}
    assert not [p for p in project.rglob("*") if p.is_file() and "$" in p.read_text(encoding="utf-8")]
    points = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"][
        "fusionbench"
    ]
    assert points == {f"{SINGULAR_KINDS[kind]}.{module}": module}
    run_in(project, "ruff", "check", ".")
    run_in(project, "ruff", "format", "--check", ".")


@pytest.mark.parametrize("kind", ["strategy", "task"])
def test_a_new_project_passes_its_checks_and_its_benchmark_names_it(tmp_path, kind):
    project = new(tmp_path, f"my-{kind}", kind)
    path = project / f"my_{kind}.py"
    outcome = fusionbench("check", path)
    assert outcome.code == 0, outcome.out
    assert fusionbench("check", project / "benchmark.yaml", "-p", path).code == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", SINGULAR_KINDS)
def test_a_new_project_passes_its_own_tests(tmp_path, kind):
    project = new(tmp_path, f"my-{kind}", kind)
    assert " passed" in run_in(project, "pytest", "-q")


@pytest.mark.slow
@pytest.mark.parametrize("kind", SINGULAR_KINDS)
def test_a_new_module_is_typed(tmp_path, kind):
    project = new(tmp_path, f"my-{kind}", kind)
    run_in(project, "mypy", "--strict", f"my_{kind}.py")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("hatchling") is None, reason="needs hatchling, to build the guest without a network")
def test_a_new_project_is_installed_run_removed_and_missed(tmp_path):
    """The whole life of a guest in a real environment: its results stay, and its name gives a clear error."""
    project, python = new(tmp_path, "my-strategy", "strategy"), new_environment(tmp_path / "venv")
    offline = ["--no-build-isolation", "--no-deps", "--no-index", "--disable-pip-version-check", "--quiet"]
    command = [python, "-c", "from fusionbench.cli import main; main()"]
    run = [*command, "run", str(project / "benchmark.yaml"), "--workspace", str(tmp_path / "runs"), "--quiet"]
    call(python, "-m", "pip", "install", *offline, str(project))
    assert "my_strategy" in call(*run)
    fits = sorted((tmp_path / "runs" / "results" / "fits").iterdir())
    call(python, "-m", "pip", "uninstall", "--yes", "--quiet", "--disable-pip-version-check", "my-strategy")
    missed = subprocess.run(run, capture_output=True, text=True, check=False, timeout=300)
    assert missed.returncode == 2
    assert "strategies[1].name: no fusion strategy named 'my_strategy'" in missed.stderr
    assert "Traceback" not in missed.stderr
    alone = call(*run, "--set", "strategies=[concat]")  # the others go on, from the same store
    assert "my_strategy" not in alone
    assert sorted((tmp_path / "runs" / "results" / "fits").iterdir()) == fits
    call(python, "-m", "pip", "install", *offline, str(project))
    again = call(*run)
    assert "done: 0 models trained" in again
    assert "my_strategy" in again


# --------------------------------------------------------------------------------------------
# names and places


def test_the_prefix_of_the_house_is_not_part_of_the_name_in_benchmarks():
    project = Project("fusionbench-bilinear", "strategies")
    assert (project.module, project.name, project.values["Class"]) == ("fusionbench_bilinear", "bilinear", "Bilinear")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("My-Fusion", "accepted: small letters, digits and single '-'"),
        ("my_fusion", "accepted: small letters, digits and single '-'"),
        ("../escape", "accepted: small letters, digits and single '-'"),
        ("", "accepted: small letters, digits and single '-'"),
        ("json", "a module 'json' would hide one that is needed; choose another name, as my-json"),
        ("torch", "a module 'torch' would hide one that is needed"),
        ("lambda", "a module 'lambda' would hide one that is needed"),
        ("fusionbench", "a module 'fusionbench' would hide one that is needed"),
        ("concat", "fusion strategy 'concat' is offered by fusionbench-core already; choose another name"),
        ("fusionbench-concat", "fusion strategy 'concat' is offered by fusionbench-core already; choose another name"),
    ],
)
def test_a_name_that_would_make_trouble_is_refused(tmp_path, name, message):
    outcome = fusionbench("plugin", "new", name, "--folder", tmp_path)
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_kind_is_refused_with_the_nearest(tmp_path):
    outcome = fusionbench("plugin", "new", "my-fusion", "--kind", "stratgy", "--folder", tmp_path)
    assert outcome.code == 2
    assert "--kind stratgy: no such kind; did you mean 'strategy'?; kinds: strategy, imputer" in outcome.err


def test_a_folder_that_is_not_empty_is_left_as_it_is(tmp_path):
    (tmp_path / "my-fusion").mkdir()
    (tmp_path / "my-fusion" / "mine.txt").write_text("mine", encoding="utf-8")
    outcome = fusionbench("plugin", "new", "my-fusion", "--folder", tmp_path)
    assert outcome.code == 2
    assert "is there and not empty; choose another name, or another place with --folder" in outcome.err
    assert [p.name for p in (tmp_path / "my-fusion").iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "my-fusion").mkdir()
    assert (new(tmp_path, "my-fusion", "strategy") / "my_fusion.py").is_file()


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    outcome = fusionbench("plugin", "new", "my-fusion", "--folder", tmp_path / "file")
    assert outcome.code == 2
    assert "cannot be written: Not a directory; choose another place with --folder" in outcome.err
