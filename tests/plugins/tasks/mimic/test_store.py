"""Preparing MIMIC: killed, interrupted, beside another process, on a full or read-only disk; and what it says."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from fusionbench.cli import app, guarded
from fusionbench.errors import DataError
from fusionbench.progress import SilentProgress
from fusionbench.store.files import GUARD, Folder
from fusionbench_plugins.tasks.mimic import store
from fusionbench_plugins.tasks.mimic.store import RowFile
from fusionbench_plugins.tasks.mimic.studies import images
from fusionbench_plugins.tasks.mimic.tables import extract
from fusionbench_plugins.tasks.mimic_ihm import MimicIhm
from tests.mimic_tree import PATIENTS, prepare, small_tree
from tests.shared import shared_folder

ROOT = Path(__file__).resolve().parents[4]


def in_processes(folder: Path, *orders: dict[str, Any], **options: object) -> list[dict[str, Any]]:
    """Write the small tree and prepare it in one process for each order; see tests/prepare_process.py."""
    root, cxr = small_tree().write(folder)
    task = {"root": str(root), "cxr_root": str(cxr), **options}
    orders = tuple({"cache": str(folder / "cache"), **order} for order in orders)
    command = [sys.executable, "-m", "tests.prepare_process", json.dumps([task, orders])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


# ---------------------------------------------------------------- killed

EVENTS = [1, 5, 12, 24]
"""Moments at which a process is killed, counted in file operations of Python."""
SECONDS = np.random.default_rng(0).uniform(0.02, 0.5, 3).round(3).tolist()
LIMITS = [0, 500, 3000, 20_000]
"""Largest file in bytes: fails at the first file, in the database, in the series, in the pictures."""


@pytest.fixture(scope="module")
def ended(tmp_path_factory) -> dict[str, Any]:
    """How processes ended that were killed, started again, or could not write; ``folder`` holds their caches.

    Takes long: extraction begins some thirty times, and most of what was cut short is ended.
    """
    folder = tmp_path_factory.mktemp("processes")
    orders: dict[str, dict[str, Any]] = {"whole": {}}
    for kind, moments in (("kill_at_event", EVENTS), ("kill_after", SECONDS), ("file_limit", LIMITS)):
        for moment in moments:
            cache = {"cache": str(folder / f"{kind}-{moment}")}
            orders |= {f"{kind}-{moment}": {**cache, kind: moment}, f"{kind}-{moment} again": cache}
    orders["closed"] = {"cache": str(folder / "closed"), "mode": 0o500}
    orders["read only"] = {"cache": str(folder / "whole"), "mode": 0o500}
    orders["whole"]["cache"] = str(folder / "whole")
    found = in_processes(folder, *orders.values())
    return {"folder": folder, **dict(zip(orders, found, strict=True))}


def same_content(one: Path, other: Path) -> None:
    """Compare every file of two caches, but for manifests: these name the time of the tables."""
    files = [path.relative_to(one) for path in sorted(one.rglob("*")) if path.is_file() and path.name != store.MANIFEST]
    assert {"series.npy", "lengths.npy", "images.npy", "found.npy", "events.parquet"} <= {path.name for path in files}
    for path in files:
        if path.suffix == ".npy":
            np.testing.assert_array_equal(np.load(one / path), np.load(other / path))
        else:
            assert (other / path).is_file()


@pytest.mark.parametrize("order", [*(f"kill_at_event-{n}" for n in EVENTS), *(f"kill_after-{s}" for s in SECONDS)])
def test_killed_and_started_again_gives_the_same(ended, order):
    whole, again, folder = ended["whole"], ended[f"{order} again"], ended["folder"]
    assert ended[order]["killed"] or "after" in order  # a quick machine may have finished before
    assert [name for name in whole["left"] if name.startswith(".")] == [GUARD]
    assert len(whole["left"]) == 6
    assert again.get("digest") == whole["digest"], again
    assert again["left"] == whole["left"]  # nothing hidden is left, and every entry has its name
    same_content(folder / "whole", folder / order)


@pytest.mark.parametrize("moment", EVENTS[:2])
def test_a_process_killed_in_its_first_step_leaves_nothing_that_could_be_read(ended, moment):
    assert all(name.startswith(".") for name in ended[f"kill_at_event-{moment}"]["left"])


@pytest.mark.slow
def test_killed_at_any_file_operation_and_started_again(tmp_path):
    orders: list[dict[str, Any]] = [{"cache": str(tmp_path / "whole")}]
    for moment in range(1, 60):
        cache = {"cache": str(tmp_path / f"cache-{moment}")}
        orders += [{**cache, "kill_at_event": moment}, cache]
    whole, *rest = in_processes(tmp_path, *orders)
    assert sum(one["killed"] for one in rest[::2]) > 30
    assert {(one.get("digest"), *one["left"]) for one in rest[1::2]} == {(whole["digest"], *whole["left"])}
    for moment in range(1, 60):
        same_content(tmp_path / "whole", tmp_path / f"cache-{moment}")


def test_interrupted_images_are_gone_on_with(tmp_path, monkeypatch):
    expected = prepare(tmp_path / "whole", chest=True).digest
    load, seen = images._load, []

    def interrupted(files: Any, path: str, size: int) -> Any:
        seen.append(path)
        if len(seen) == 5:
            raise KeyboardInterrupt
        return load(files, path, size)

    monkeypatch.setattr(images, "_load", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path, chest=True, threads=1)
    (left,) = (tmp_path / "cache").glob(".images-*.resumable")
    marks = np.load(left / images.FOUND)
    assert marks.sum() == 4
    seen.clear()
    monkeypatch.setattr(images, "_load", lambda *given: seen.append(given[1]) or load(*given))
    assert MimicIhm(*map(str, roots(tmp_path))).prepare(tmp_path / "cache", SilentProgress()).digest == expected
    assert len(seen) == PATIENTS - 4
    assert [path.name for path in (tmp_path / "cache").glob(".*")] == [GUARD]


def roots(folder: Path) -> tuple[Path, Path]:
    return folder / "mimic-iv", folder / "mimic-cxr"


def test_what_is_left_of_other_picture_sizes_goes_when_pictures_are_decoded(tmp_path):
    left = tmp_path / "cache" / ".images-0000000000000000.resumable"
    left.mkdir(parents=True)
    prepare(tmp_path)
    assert left.is_dir()  # records only: these pictures may still be wanted
    prepare(tmp_path, chest=True)
    assert not left.exists()


# ---------------------------------------------------------------- beside each other


def test_folders_of_dead_processes_are_removed_and_those_of_living_ones_are_not(tmp_path):
    cache = tmp_path / "cache"
    for name in (f".events-dead.{'0' * 32}.partial", ".events-living.partial", ".series-older_way.partial"):
        (cache / name).mkdir(parents=True)
    (cache / ".events-dead.lock").touch()  # as earlier versions left them
    with Folder(cache).held("events-living"):  # as a process that is alive
        prepare(tmp_path)
        assert {path.name for path in cache.glob(".*.partial")} == {".events-living.partial"}
        assert not (cache / ".events-dead.lock").exists()
    prepare(tmp_path)
    assert [path.name for path in cache.glob(".*")] == [GUARD]


def test_of_two_processes_one_builds_and_the_other_waits_for_it(tmp_path):
    begun, go_on, built = threading.Event(), threading.Event(), []

    def build(folder: Path) -> dict[str, str]:
        begun.set()
        go_on.wait(10)
        built.append(folder)
        (folder / "x.txt").write_text("x", encoding="utf-8")
        return {}

    class Notes(SilentProgress):
        def note(self, message: str) -> None:
            super().note(message)
            go_on.set()

    first = threading.Thread(target=store.entry, args=(tmp_path, "thing", {"a": 1}, build))
    first.start()
    assert begun.wait(10)
    notes = Notes()
    made = store.entry(tmp_path, "thing", {"a": 1}, build, progress=notes)
    first.join()
    assert len(built) == 1
    assert notes.notes == [f"another process prepares {made.folder.name}; waiting for it"]
    assert {path.name for path in tmp_path.iterdir()} == {made.folder.name, GUARD}


def test_entry_is_for_its_owner_only(tmp_path):
    prepare(tmp_path)
    entries = [path for path in (tmp_path / "cache").iterdir() if path.name != GUARD]
    assert {path.stat().st_mode & 0o777 for path in entries} == {0o700}


# ---------------------------------------------------------------- no space, no permission


@pytest.mark.parametrize("limit", LIMITS)
def test_full_disk_is_one_clear_error_wherever_it_happens(ended, limit):
    full, after = ended[f"file_limit-{limit}"], ended[f"file_limit-{limit} again"]
    assert full.get("error") == "WorkspaceError", full
    assert "cannot be written" in full["message"]
    assert "free some space" in full["message"]
    assert after["digest"] == ended["whole"]["digest"]
    assert after["left"] == ended["whole"]["left"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: root gives up its rights by capabilities")
def test_folder_that_may_only_be_read(ended):
    closed = ended["closed"]
    assert closed["error"] == "WorkspaceError"
    assert f"cache {ended['folder'] / 'closed'} cannot be written: Permission denied" in closed["message"]
    assert ended["read only"]["digest"] == ended["whole"]["digest"]  # what is complete can be used


# ---------------------------------------------------------------- rows on disk


def test_row_file_is_an_array_with_zeros_where_nothing_was_written(tmp_path):
    with RowFile(tmp_path / "x.npy", np.float32, (4, 2, 3)) as file:
        file.write(1, np.arange(12.0).reshape(2, 2, 3))
        file.write(4, np.zeros((0, 2, 3)))
    expected = np.zeros((4, 2, 3), np.float32)
    expected[1:3] = np.arange(12).reshape(2, 2, 3)
    found = np.load(tmp_path / "x.npy", allow_pickle=False)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


def test_row_file_goes_on_with_its_own_shape_only(tmp_path):
    path = tmp_path / "x.npy"
    with RowFile(path, np.uint8, (3, 2)) as file:
        file.write(0, np.ones((1, 2)))
    with RowFile(path, np.uint8, (3, 2)) as file:
        file.write(2, np.full((1, 2), 7))
    np.testing.assert_array_equal(np.load(path), [[1, 1], [0, 0], [7, 7]])
    with RowFile(path, np.uint8, (2, 2)):
        pass
    np.testing.assert_array_equal(np.load(path), np.zeros((2, 2)))


@pytest.mark.parametrize(("first", "shape"), [(0, (1, 3)), (2, (2, 2)), (0, (4, 2))])
def test_row_file_refuses_what_does_not_fit(tmp_path, first, shape):
    with RowFile(tmp_path / "x.npy", np.uint8, (3, 2)) as file, pytest.raises(ValueError, match="do not fit"):
        file.write(first, np.zeros(shape))


# ---------------------------------------------------------------- what it says


def test_every_row_of_every_table_is_counted(tmp_path):
    tree = small_tree()
    for number in range(50):
        tree.chart(0, number / 10, 1, number)  # an item that is not read
    prepare(tmp_path, tree)
    (path,) = (tmp_path / "cache").glob("events-*/manifest.json")
    facts = json.loads(path.read_text(encoding="utf-8"))["facts"]
    assert facts["rows"] == {name: len(rows) for name, rows in tree.tables.items()}
    table = facts["tables"]["icu/chartevents"]
    source = tmp_path / "mimic-iv" / "icu" / "chartevents.csv.gz"
    assert (table["sha256"], table["bytes"]) == (store.hash_file(source), source.stat().st_size)
    assert facts["settings"] == {"rules": "sound", "window": "first 48 h"}


def test_table_that_changes_while_it_is_read(tmp_path, monkeypatch):
    root, _ = small_tree().write(tmp_path)
    read = extract._read_events

    def changing(*given: Any) -> int:
        (root / "icu" / "chartevents.csv.gz").touch()
        os.utime(root / "icu" / "chartevents.csv.gz", ns=(1, 1))
        return read(*given)

    monkeypatch.setattr(extract, "_read_events", changing)
    with pytest.raises(DataError, match="icu/chartevents: changed while being read"):
        MimicIhm(str(root)).prepare(tmp_path / "cache", SilentProgress())
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [GUARD]


# ---------------------------------------------------------------- the command


def command(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["data", "prepare", *words])
    if result.exception is None or isinstance(result.exception, SystemExit):
        return result.exit_code, result.output

    def raise_again() -> None:
        assert result.exception is not None
        raise result.exception

    return guarded(raise_again), str(result.exception)


def test_command_prepares_a_task_by_name_and_a_run_finds_it(tmp_path):
    root, cxr = small_tree().write(tmp_path)
    words = [
        "mimic_ihm",
        "--set",
        f"task.root={root}",
        "--set",
        f"task.cxr_root={cxr}",
        "--workspace",
        str(tmp_path / "ws"),
    ]
    code, output = command(*words)
    assert code == 0, output
    for part in (
        "layout of v2.2 to v3.1",
        "reading icu/chartevents: done in",
        "rows read: patients 8, admissions 8",
        "         8  a diagnosis code, and an event in the first 48 h",
        "published: 26,226",
        "series 24 x 76, 8 of 8 rows have it",
        "image 64 x 64, 8 of 8 rows have it",
        f"next: fusionbench run BENCHMARK.yaml --set {shlex.quote(f'task.root={root}')}",
    ):
        assert part in output
    code, output = command(*words, "--quiet")
    assert code == 0
    assert "reading" not in output
    assert len(list((tmp_path / "ws" / "cache" / "tasks" / "mimic_ihm").glob("[!.]*"))) == 5


def test_command_prepares_every_task_of_a_source(tmp_path):
    root = shared_folder("data", "mimic-iv-demo")
    code, output = command("mimic", "--set", f"task.root={root}", "--workspace", str(tmp_path / "ws"))
    assert code == 0, output
    assert {p.name for p in (tmp_path / "ws" / "cache" / "tasks").iterdir()} == {"mimic_ihm", "mimic_phenotyping"}


def test_command_prepares_what_a_benchmark_names(tmp_path):
    root, _ = small_tree().write(tmp_path)
    file = str(ROOT / "benchmarks" / "mimic_ihm.yaml")
    code, output = command(
        file, "--set", f"task.root={root}", "--set", "task.window_hours=24", "--workspace", str(tmp_path)
    )
    assert code == 0, output
    assert "an event in the first 24 h" in output
    words = ["run", file, "--set", f"task.root={root}", "--set", "task.window_hours=24", "--workspace", str(tmp_path)]
    assert f"next: {shlex.join(['fusionbench', *words])}" in output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mimi"], "'mimi' is neither a benchmark file nor a task"),
        (["nowhere.yaml"], "nowhere.yaml"),
        (
            ["mimic", "--set", "root=x"],
            "--set root=x: without a benchmark file only options of the task: task.KEY=VALUE",
        ),
        (["mimic", "--set", "task.rot=x"], "has no option 'rot'; did you mean 'root'?"),
        (["mimic_ihm", "--set", "task.threads=0"], "threads must be a whole number from 1"),
        (["mimic_ihm", "--set", "task.root=/nowhere/at/all"], "/nowhere/at/all is not a folder"),
        (["mimic_ihm"], "neither root nor synthetic is given"),
    ],
)
def test_command_says_what_is_wrong(tmp_path, words, message):
    code, said = command(*words, "--workspace", str(tmp_path))
    assert code == 2
    assert message in said


def test_open_demo_is_counted_whole(tmp_path):
    dataset = MimicIhm(str(shared_folder("data", "mimic-iv-demo"))).prepare(tmp_path, SilentProgress())
    (path,) = tmp_path.glob("events-*/manifest.json")
    rows = json.loads(path.read_text(encoding="utf-8"))["facts"]["rows"]
    assert rows["chartevents"] == 357_790
    assert rows["icustays"] == dataset.funnel[0].rows == 74
