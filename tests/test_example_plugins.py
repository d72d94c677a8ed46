"""The example distributions from outside: loaded with ``-p``, examined, run, and one environment where all are installed."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from fusionbench import TargetKind
from fusionbench.plugins.catalogue import Plugins
from fusionbench.testing import ContextCase, default_contexts, make_case, run_checks
from tests.front import TOY, fusionbench, run_toy, toy_benchmark, write_yaml
from tests.test_guests import call, new_environment

ROOT = Path(__file__).resolve().parents[1]
MOST_LINES = 119  # "each under 120 lines"


class Example(NamedTuple):
    """One distribution under ``plugins/``."""

    folder: Path
    project: dict[str, Any]

    @property
    def point(self) -> tuple[str, str]:
        """The one entry point: kind and name."""
        ((label, _),) = self.project["project"]["entry-points"]["fusionbench"].items()
        kind, _, name = label.partition(".")
        return kind, name

    @property
    def module(self) -> Path:
        """The one file."""
        (file,) = self.folder.glob("*.py")
        return file


def examples() -> list[Example]:
    folders = sorted(p.parent for p in (ROOT / "plugins").glob("*/pyproject.toml"))
    return [Example(f, tomllib.loads((f / "pyproject.toml").read_text(encoding="utf-8"))) for f in folders]


EXAMPLES = examples()
each = pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.folder.name)


def load(example: Example) -> Any:
    kind, name = example.point
    plugins = Plugins([str(example.module)])
    assert plugins.failures == []
    return plugins.get(kind, name).target


def test_five_examples_show_four_kinds():
    assert {e.folder.name: e.point for e in EXAMPLES} == {
        "fusionbench-actionmae": ("imputers", "actionmae"),
        "fusionbench-ampute": ("missingness", "ampute"),
        "fusionbench-drfuse": ("strategies", "drfuse"),
        "fusionbench-mmanet": ("regularisers", "mmanet"),
        "fusionbench-shaspec": ("strategies", "shaspec"),
    }


@each
def test_an_example_is_one_short_file_with_licence_readme_and_tests(example):
    assert len(example.module.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    assert (example.folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert example.project["project"]["license"] == "Apache-2.0"
    assert f"`{example.point[1]}`" in (example.folder / "README.md").read_text(encoding="utf-8")
    assert list((example.folder / "tests").glob("test_*.py"))


@each
def test_an_example_imports_nothing_of_the_built_ins(example):
    tree = ast.parse(example.module.read_text(encoding="utf-8"))
    found = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    found |= {alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
    assert not [name for name in found if name and name.startswith("fusionbench_plugins")]


@each
def test_an_example_is_named_consistently_and_checked_by_the_type_checker(example):
    module, project = example.module.stem, example.project
    assert project["project"]["name"] == example.folder.name == module.replace("_", "-")
    assert list(project["project"]["entry-points"]["fusionbench"].values()) == [module]
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"] == [example.module.name]
    mypy = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
    assert module in mypy["modules"]
    assert f"plugins/{example.folder.name}" in mypy["mypy_path"].split(":")


@each
def test_an_example_is_not_part_of_fusionbench(example):
    kind, name = example.point
    built_in = {(e.kind, e.name) for e in Plugins().catalogue() if e.distribution == "fusionbench"}
    assert (kind, name) not in built_in
    assert example.folder.name not in {p.name for p in (ROOT / "plugins" / "fusionbench_plugins").rglob("*")}


def cases_for(kind: str) -> list[Any]:
    if kind == "missingness":
        return [ContextCase(case.name, case.context) for case in default_contexts()[3:]]
    return [make_case(m, target, "random") for m, target in zip((1, 2, 3), TargetKind, strict=True)]


@each
def test_an_example_given_with_p_takes_the_exam(example):
    results = run_checks(load(example), cases=cases_for(example.point[0]))
    assert len(results) >= 5
    assert {r.name: r.reason for r in results if not r.ok} == {}


@each
def test_an_example_given_with_p_is_listed_and_described(example):
    kind, name = example.point
    assert re.search(
        rf"{kind} +{name} +file {example.module.name}", fusionbench("list", kind, "-p", example.module).out
    )
    shown = fusionbench("show", name, "-p", example.module)
    assert shown.code == 0, shown


def test_all_examples_run_together_in_one_benchmark(tmp_path):
    """A strategy of each sort, on what the imputer fills, with the regulariser, under the mechanism."""
    strategies = [
        "concat",
        {"name": "drfuse", "hidden": 4},
        {"name": "shaspec", "hidden": 4, "regularisers": ["mmanet"]},
    ]
    mechanism = {"mechanism": {"name": "ampute", "kind": "tail"}, "patterns": ["random"], "rates": [0, 0.5]}
    document = toy_benchmark(strategies=strategies, imputers=["zero", "actionmae"], missingness=mechanism)
    given = [part for e in EXAMPLES for part in ("-p", e.module)]
    outcome = run_toy(write_yaml(tmp_path / "toy.yaml", document), tmp_path / "runs", *given)
    assert outcome.code == 0, outcome
    board = (tmp_path / "runs" / "reports" / "toy" / "leaderboard.csv").read_text(encoding="utf-8")
    for arm in ("drfuse,zero", "drfuse,actionmae", "shaspec+mmanet,actionmae", "concat,actionmae"):
        assert arm in board


def test_the_page_of_examples_and_their_readmes_name_each_other():
    page = (ROOT / "docs" / "example-plugins.md").read_text(encoding="utf-8")
    for example in EXAMPLES:
        assert f"../plugins/{example.folder.name}/README.md" in page


def own_tests(example: Example) -> list[ModuleType]:
    names = [f"{path.stem}" for path in (example.folder / "tests").glob("test_*.py")]
    return [importlib.import_module(name) for name in names]


@each
def test_the_tests_of_an_example_examine_its_class(example, monkeypatch):
    """They run in the distribution's own environment (see below); here: that they import and take the exam."""
    monkeypatch.syspath_prepend(str(example.folder))
    monkeypatch.syspath_prepend(str(example.folder / "tests"))
    (tests,) = own_tests(example)
    marks = [m for f in vars(tests).values() for m in getattr(f, "pytestmark", []) if m.name == "parametrize"]
    examined = [p.values[0].plugin for m in marks for p in m.args[1] if m.args[0] == ("subject", "check")]
    assert examined
    assert {plugin.__module__ for plugin in examined} == {example.module.stem}


@pytest.mark.slow
@pytest.mark.skipif(find_spec("hatchling") is None, reason="needs hatchling, to build without a network")
def test_all_examples_are_built_installed_tested_and_run(tmp_path):
    python = new_environment(tmp_path / "venv")
    offline = ["--no-build-isolation", "--no-deps", "--no-index", "--disable-pip-version-check"]
    call(python, "-m", "pip", "install", "--quiet", *offline, *(str(e.folder) for e in EXAMPLES))
    command = [python, "-c", "from fusionbench.cli import main; main()"]
    listed = call(*command, "list")
    for example in EXAMPLES:
        kind, name = example.point
        assert re.search(rf"{kind} +{name} +{example.folder.name} 0\.1\.0\n", listed)
        settings = ["-c", str(example.folder / "pyproject.toml"), "--override-ini", "pythonpath="]  # what is installed
        call(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *settings, str(example.folder / "tests"))
    document = toy_benchmark(
        strategies=["drfuse", "concat"], imputers=["actionmae"], missingness={"mechanism": "ampute"}
    )
    config = write_yaml(tmp_path / "toy.yaml", document)
    call(*command, "run", str(config), "-p", TOY, "--workspace", str(tmp_path / "runs"))
    assert "drfuse,actionmae" in (tmp_path / "runs" / "reports" / "toy" / "leaderboard.csv").read_text(encoding="utf-8")
