"""Where things lie: what earlier versions wrote is found, and nothing else names these folders."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest

from fusionbench.store.results import Store
from fusionbench.store.workspace import ResultFolders, Workspace
from tests.builders import make_run, toy_dataset

ROOT = Path(__file__).resolve().parents[2]
LAYOUT = {
    "results": ("results.root", "results"),
    "fits": ("results.fits", "results/fits"),
    "weights": ("results.weights", "results/weights"),
    "studies": ("results.studies", "results/studies"),
    "failures": ("results.failures", "results/failures"),
    "masks": ("results.masks", "results/masks"),
    "maps": ("results.maps", "results/maps"),
    "tables": ("results.tables", "results/tables"),
    "tracked": ("results.tracked", "results/tracked"),
    "salt": ("results.salt", "results/salt"),
    "features": ("features", "cache/features"),
    "reports": ("reports", "reports"),
    "database": ("database", "mlflow.db"),
    "artifacts": ("artifacts", "mlartifacts"),
}


@pytest.mark.parametrize(("attribute", "place"), LAYOUT.values(), ids=LAYOUT)
def test_everything_lies_where_earlier_versions_put_it(tmp_path, attribute, place):
    found = Workspace(tmp_path)
    for name in attribute.split("."):
        found = getattr(found, name)
    assert found == tmp_path / place


def test_tasks_and_reports_have_a_folder_each(tmp_path):
    workspace = Workspace(tmp_path)
    assert workspace.task("planted") == tmp_path / "cache" / "tasks" / "planted"
    assert workspace.report("toy") == tmp_path / "reports" / "toy"


def test_looking_makes_nothing_and_a_store_makes_results(tmp_path):
    workspace = Workspace(tmp_path / "runs")
    assert not workspace.holds_results
    assert not workspace.root.exists()
    store = Store(workspace.results.root)
    assert workspace.holds_results
    assert store.at == workspace.results == ResultFolders(tmp_path / "runs" / "results")


def test_a_report_knows_its_workspace(tmp_path, monkeypatch):
    folder = Workspace(tmp_path).report("toy")
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    assert Workspace.of_report(Path()) == Workspace(tmp_path.resolve())


def test_the_plan_carries_the_folders_and_the_store_of_the_run(tmp_path):
    run = make_run(tmp_path, toy_dataset(), strategies=["concat"])
    assert run.plan.store is run.store
    assert replace(run.plan, only="concat").store is run.store  # also of a part of it
    assert run.plan.folders == run.folders == Workspace(tmp_path)
    assert isinstance(run.plan.workspace, Path)  # as guests' observers know it
    assert (run.plan.workspace / "results").is_dir()
    made_by_hand = replace(run.plan, opened=None)
    assert made_by_hand.store.folder == run.store.folder
    assert made_by_hand == run.plan


NAMES = {
    "results",
    "cache",
    "reports",
    "mlflow.db",
    "mlartifacts",
    "fits",
    "studies",
    "failures",
    "masks",
    "maps",
    "tracked",
    "written",
}


def joined(path: Path) -> list[str]:
    """Names that a source file joins to a path by a slash."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    divisions = [node for node in ast.walk(tree) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)]
    return [node.right.value for node in divisions if isinstance(node.right, ast.Constant)]


def test_no_other_file_names_these_folders():
    sources = [*(ROOT / "fusionbench").rglob("*.py"), *(ROOT / "plugins" / "fusionbench_plugins").rglob("*.py")]
    found = {path.name: named for path in sources if (named := NAMES.intersection(joined(path)))}
    assert found == {"workspace.py": NAMES}
