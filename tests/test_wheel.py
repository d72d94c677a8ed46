"""What is shipped: the wheel holds the two packages and nothing else, and the catalogue points to what it holds."""

from __future__ import annotations

import configparser
import importlib
import json
import os
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

from fusionbench import __version__
from fusionbench.config.reading import read_panels
from fusionbench.contract.kinds import KINDS
from fusionbench.plugins.catalogue import Plugins
from fusionbench.plugins.papers import installed_papers

ROOT = Path(__file__).resolve().parents[1]
SOURCES = {"fusionbench": ROOT / "fusionbench", "fusionbench_plugins": ROOT / "plugins" / "fusionbench_plugins"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CATALOGUE: dict[str, str] = PROJECT["entry-points"]["fusionbench"]


def test_the_version_is_written_once_more_and_equal():
    assert PROJECT["version"] == __version__


def test_the_catalogue_is_sorted_by_kind_and_names_every_plugin_file_once():
    order = [(list(KINDS).index(kind), name) for kind, _, name in (label.partition(".") for label in CATALOGUE)]
    assert order == sorted(order)
    folder = SOURCES["fusionbench_plugins"]
    files = [
        p for p in (*folder.glob("*/*.py"), *folder.glob("*/*/__init__.py")) if "\n@hookimpl\n" in p.read_text("utf-8")
    ]
    modules = {".".join(p.relative_to(folder.parent).with_suffix("").parts).removesuffix(".__init__") for p in files}
    assert set(CATALOGUE.values()) == modules


@pytest.mark.parametrize(("label", "module"), CATALOGUE.items())
def test_every_entry_point_leads_to_a_module_that_registers_its_name(label, module):
    kind, _, name = label.partition(".")
    plugins = Plugins([module], blocked=["fusionbench"])
    assert plugins.failures == []
    registration = plugins.get(kind, name)
    assert f"{registration.target.__module__}.".startswith(f"{importlib.import_module(module).__name__}.")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    if find_spec("hatchling") is None:
        pytest.skip("needs hatchling, to build without a network")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_two_packages_and_what_describes_them(wheel):
    assert wheel.name == f"fusionbench_core-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {n.split("/")[0] for n in names} == {*SOURCES, f"fusionbench_core-{__version__}.dist-info"}
    assert [n for n in names if n.endswith(".pyc") or "/." in n] == []


@pytest.mark.parametrize("package", SOURCES)
def test_the_wheel_holds_every_module_and_says_that_it_is_typed(wheel, package):
    with zipfile.ZipFile(wheel) as archive:
        shipped = {n for n in archive.namelist() if n.startswith(f"{package}/")}
    source = SOURCES[package]
    files = {p for p in source.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    own = {n for n in shipped if not n.startswith(f"{package}/benchmarks/")}
    assert own == {f"{package}/{p.relative_to(source).as_posix()}" for p in files}
    assert f"{package}/py.typed" in shipped


def test_the_wheel_holds_every_file_of_every_paper_and_what_these_extend(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    shipped = tmp_path / "fusionbench_plugins" / "benchmarks"
    for paper in installed_papers(Plugins())[0]:
        for file in {f for part in paper.parts for f in part.files}:
            for environ in ({}, {"MIMIC_ROOT": "/data", "LUNG_ROOT": "/data", "BERT_ROOT": "/data"}):
                assert read_panels(shipped / file, environ=environ).problems == []


def test_the_wheel_offers_the_catalogue_and_the_command(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith("/entry_points.txt")]
        points = configparser.ConfigParser(delimiters="=")
        points.optionxform = str  # type: ignore[assignment,method-assign]
        points.read_string(archive.read(name).decode())
    assert dict(points["fusionbench"]) == CATALOGUE
    assert dict(points["console_scripts"]) == PROJECT["scripts"]
    for target in PROJECT["scripts"].values():
        module, _, function = target.partition(":")
        assert callable(getattr(importlib.import_module(module), function))


def test_the_wheel_carries_the_licence_and_its_dependencies(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = [archive.read(n).decode() for n in names if n.endswith("/METADATA")]
    assert any(n.endswith("/licenses/LICENSE") for n in names)
    assert [d for d in PROJECT["dependencies"] if f"Requires-Dist: {d}" not in metadata] == []


# --------------------------------------------------------------------------------------------
# installed, in an environment of its own, away from the checkout


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Python of an environment that holds the wheel; what it depends on is that of this one."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "env", with_pip=False, symlinks=True)
    (site,) = (folder / "env").glob("lib/python3.*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    dependencies = [Path(find_spec(name).origin).parents[1] for name in ("torch", "pydantic", "typer")]
    # a path in such a file is searched, and files like it in there are not read: an editable installation stays out
    (site / "dependencies.pth").write_text("\n".join(dict.fromkeys(map(str, dependencies))), encoding="utf-8")
    return folder / "env" / "bin" / "python"


def away(python, tmp_path, *words):
    """Run it in a folder that holds nothing, with no path from here."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "MIMIC", "FUSIONBENCH"))}
    return subprocess.run(
        [str(python), *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


SMALL = {"task.rows": 120, "splits.folds": 2, "splits.seeds": [0], "training.epochs": 1, "tuning.trials": 0}
SMALL |= {"strategies": ["concat", "sum"], "imputers": ["zero"], "expect": [], "observers": ["files", "html"]}


def test_installed_it_runs_a_benchmark_by_name(installed, tmp_path):
    """Takes 10 s: torch is imported in processes of their own."""
    listed = away(installed, tmp_path, "-m", "fusionbench", "benchmarks")
    assert {"mimic_ihm", "demo", "omnifuse/table1"} <= set(listed.stdout.split()), listed.stderr
    words = [word for key, value in SMALL.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    done = away(installed, tmp_path, "-m", "fusionbench", "run", "oracle_xor", "--quiet", *words)
    assert done.returncode == 0, done.stderr
    assert "4 models trained" in done.stdout
    tables = list((tmp_path / "runs" / "reports" / "oracle_xor").glob("*.csv"))
    assert len(tables) > 10
    assert all(pd.read_csv(path)["synthetic"].all() for path in tables)
    assert str(ROOT) not in (tmp_path / "runs" / "reports" / "oracle_xor" / "record.json").read_text(encoding="utf-8")


def test_installed_it_serves_python(installed, tmp_path):
    """Takes 10 s: torch is imported in a process of its own."""
    code = (
        "import fusionbench, pathlib\n"
        f"assert {str(ROOT)!r} not in fusionbench.__file__\n"
        f"found = fusionbench.run('oracle_xor', beside=False, workspace='w', quiet=True, **{SMALL!r})\n"
        "assert set(found.leaderboard['strategy']) == {'concat', 'sum', 'prevalence'}, found\n"
        "assert fusionbench.load('w').curves.equals(found.curves)\n"
    )
    done = away(installed, tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr
