"""Where things lie: what earlier versions wrote is found, and nothing else names these folders."""

from __future__ import annotations

import ast
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from fusionbench.store.results import Store
from fusionbench.store.workspace import ResultFolders, Workspace
from tests.builders import make_run, toy_dataset
from tests.front import TOY, fusionbench, toy_benchmark, write_yaml

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


# --------------------------------------------------------------------------------------------
# data about people


def modes(folder: Path) -> dict[str, int]:
    return {p.relative_to(folder).as_posix(): stat.S_IMODE(p.lstat().st_mode) for p in (folder, *folder.rglob("*"))}


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Workspace:
    """A workspace that anybody may read; files that are made later would be so too."""
    before = os.umask(0o022)
    found = Workspace(tmp_path / "runs")
    Store(found.results.root)
    for path in (found.task("x") / "a.npy", found.report("toy") / "page.html", found.database, found.artifacts / "b"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"about people")
    yield found
    os.umask(before)


def test_what_is_about_people_is_for_its_owner_only(workspace):
    assert modes(workspace.root)["results"] == 0o755
    workspace.keep_private()
    (workspace.results.fits / "later").write_bytes(b"")
    found = modes(workspace.root)
    assert {m for n, m in found.items() if (workspace.root / n).is_dir()} == {0o700}
    assert {m for n, m in found.items() if (workspace.root / n).is_file()} == {0o600}
    assert len(found) > 10


def test_what_lies_beside_and_where_links_lead_is_left_as_it_is(workspace, tmp_path):
    (tmp_path / "elsewhere").write_bytes(b"")
    (workspace.root / "notes.txt").write_bytes(b"mine")
    (workspace.cache / "link").symlink_to(tmp_path / "elsewhere")
    workspace.keep_private()
    assert stat.S_IMODE((workspace.root / "notes.txt").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "elsewhere").stat().st_mode) == 0o644
    assert stat.S_IMODE(workspace.root.stat().st_mode) == 0o755
    assert stat.S_IMODE(workspace.results.fits.stat().st_mode) == 0o700


def test_a_folder_that_was_made_to_be_shared_stays_its_groups(workspace):
    workspace.root.chmod(0o2775)
    workspace.keep_private()
    found = modes(workspace.root)
    assert found["."] == 0o2770
    assert not any(mode & 0o007 for mode in found.values())
    assert stat.S_IMODE(workspace.database.stat().st_mode) == 0o640


@pytest.mark.parametrize("synthetic", [True, False])
def test_a_run_on_data_about_people_leaves_nothing_that_others_may_read(tmp_path, synthetic):
    task = tmp_path / "toy.py"
    code = Path(TOY).read_text(encoding="utf-8").replace("synthetic=True", f"synthetic={synthetic}")
    task.write_text(code, encoding="utf-8")
    before = os.umask(0o022)
    try:
        config = write_yaml(tmp_path / "toy.yaml", toy_benchmark(strategies=["concat"], imputers=["zero"]))
        found = fusionbench("run", config, "-p", task, "--workspace", tmp_path / "runs", "--quiet")
        assert found.code == 0, found.err
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    readable = [n for n, mode in modes(tmp_path / "runs").items() if mode & 0o077]
    assert bool(readable) == synthetic, readable


def test_the_folder_stays_the_same_whatever_the_working_folder_is_later(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = Workspace(Path("runs"))
    monkeypatch.chdir("/")
    assert found.root == tmp_path / "runs"
