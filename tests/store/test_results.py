"""The result store: whole files or none, also when the machine, the disk or another process gets in the way."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fusionbench.errors import WorkspaceError
from fusionbench.store.files import write_atomically
from fusionbench.store.integrity import compared_tensors, with_hash
from fusionbench.store.results import PREDICTED, FitResult, Store
from fusionbench.store.studies import logged, study_digest

ROOT = str(Path(__file__).resolve().parents[2])
KEY = "0123456789abcdef" * 2


def result(key: str = KEY, seed: int = 0) -> FitResult:
    draw = np.random.default_rng(seed)
    scores = {label: draw.random((7, 1)).astype(np.float32) for label in ("complete@0", "random@0.5")}
    others = {label: draw.random((5, 1)).astype(np.float32) for label in scores}
    shown = ({label: np.arange(n, dtype=np.int32) for label in scores} for n in (7, 5))
    trained = ({"learning_rate": 0.1, "alpha": 2}, "study", 0.75, 3, 5, 42, 1.5, 640)
    return FitResult(key, *trained, **dict(zip(PREDICTED, (scores, others, *shown), strict=True)))


def study() -> dict[str, object]:
    params = [{"learning_rate": 0.1}, {"learning_rate": 0.2}]
    scores = [0.7, 0.8]
    trials = [
        {"number": i, "params": p, "own": {}, "score": s, "failure": None, "epochs": 3, "seconds": 1.5}
        for i, (p, s) in enumerate(zip(params, scores, strict=True))
    ]
    winner = {"number": 1, "common": params[1], "own": {}}
    content = {"arm": "concat / zero", "fold": 0, "trials": trials, "winner": winner}
    return {**content, "digest": study_digest(trials, winner)}


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path)


def test_a_result_comes_back_as_it_was(store):
    store.save(result())
    found = store.load(KEY)
    assert {n: v for n, v in vars(found).items() if n not in PREDICTED} == {
        n: v for n, v in vars(result()).items() if n not in PREDICTED
    }
    for what, by_label in result().predicted.items():
        assert found.predicted[what].keys() == by_label.keys()
        for label, values in by_label.items():
            assert np.array_equal(found.predicted[what][label], values)
            assert found.predicted[what][label].dtype == values.dtype
    assert store.scored(KEY) == {"complete@0", "random@0.5"}
    assert found.content == result().content


def test_content_knows_every_number():
    base = result()
    shifted = [
        replace(base, **{what: {**found, "random@0.5": found["random@0.5"] + found["random@0.5"].dtype.type(1)}})
        for what, found in base.predicted.items()
    ]
    others = [replace(base, score=0.76), replace(base, seconds=2.0), *shifted]
    assert len({r.content for r in (base, *others)}) == 3 + len(PREDICTED)


def test_what_is_not_there_is_not_there(store):
    assert store.load(KEY) is None
    assert store.scored(KEY) == set()
    assert store.sealed_study(KEY) is None


def test_a_result_ends_the_failure_of_its_key(store):
    store.save_failure(KEY, {"cell": "concat"}, "diverged")
    path = store.folder / "failures" / f"{KEY}.json"
    assert json.loads(path.read_text(encoding="utf-8")) == {"key": KEY, "cell": "concat", "reason": "diverged"}
    assert store.load(KEY) is None
    store.save(result())
    assert not path.exists()


CRASH = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.store.test_results import result
from fusionbench.store.results import Store
store = Store(Path(sys.argv[1]))
Path.replace = lambda self, target: os._exit(9)
store.save(result())
"""


def test_a_crash_between_writing_and_renaming_leaves_nothing_that_reads_as_a_result(store):
    assert subprocess.run([sys.executable, "-c", CRASH, str(store.folder), ROOT], check=False).returncode == 9
    left = list((store.folder / "fits").iterdir())
    assert len(left) == 1
    assert left[0].name.startswith(".")
    assert store.load(KEY) is None
    assert store.scored(KEY) == set()
    store.save(result())
    assert store.load(KEY) is not None


@pytest.mark.parametrize("damage", ["cut", "empty", "noise", "foreign", "no record", "probabilities", "half"])
def test_a_damaged_file_is_set_aside_and_counts_as_absent(store, damage):
    from safetensors.numpy import load, save

    store.save(result())
    path = store.folder / "fits" / f"{KEY}.safetensors"
    (record,) = [compared_tensors(KEY, path.read_bytes())["record"]]

    def stored(tensors):
        return with_hash(KEY, save(tensors, metadata={"record": record}))

    content = {
        "cut": path.read_bytes()[:-9],
        "empty": b"",
        "noise": b"\xff" * 100,
        "foreign": save({"x": np.zeros(1)}, metadata={"record": json.dumps({"key": KEY, "who": "else"})}),
        "no record": save({"x": np.zeros(1)}),
        # a sound file of a version that kept probabilities, and one that lacks what validation rows show
        "probabilities": stored({"complete@0": np.zeros((7, 1), dtype=np.float32)}),
        "half": stored({k: v for k, v in load(path.read_bytes()).items() if not k.startswith("validation_shown")}),
    }[damage]
    path.write_bytes(content)
    assert store.scored(KEY) == set()
    assert not path.exists()
    assert [p.name for p in path.parent.iterdir()] == [f"{KEY}.safetensors.damaged"]
    assert store.load(KEY) is None
    store.save(result())
    assert store.load(KEY) is not None


def test_a_damaged_seal_is_set_aside_and_counts_as_open(store):
    store.seal_study(KEY, study())
    assert store.sealed_study(KEY) == study()
    path = store.folder / "studies" / f"{KEY}.json"
    path.write_bytes(path.read_bytes()[:-2])
    assert store.sealed_study(KEY) is None
    assert not path.exists()


TRIAL = {"number": 0, "params": {}, "own": {}, "score": 0.5, "failure": None, "epochs": 1, "seconds": 0.5}
WINNER = {"number": 0, "common": {}, "own": {}}
SEAL = {"winner": WINNER, "trials": [TRIAL], "digest": study_digest([TRIAL], WINNER)}


@pytest.mark.parametrize(
    "content",
    [
        {},
        [],
        None,
        3,
        "x",
        [SEAL],
        {"winner": []},
        *({k: v for k, v in SEAL.items() if k != left_out} for left_out in SEAL),
        {**SEAL, "winner": {"common": {}}},
        {**SEAL, "trials": [{}]},
        {**SEAL, "trials": [{"epochs": "x", "seconds": 1}]},
        {**SEAL, "digest": None},
    ],
)
def test_a_seal_that_is_no_study_is_set_aside_and_counts_as_open(store, content):
    store.seal_study(KEY, SEAL)
    assert store.sealed_study(KEY) == SEAL
    path = store.folder / "studies" / f"{KEY}.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    assert store.cost_of_study(KEY) == (0, 0)
    assert store.sealed_study(KEY) is None
    assert not path.exists()
    assert (path.parent / f"{path.name}.damaged").exists()


def test_removing_takes_results_journals_and_seals_of_the_named_only(store):
    other = KEY[::-1]
    for key in (KEY, other):
        store.save(result(key))
        store.seal_study(key, {})
        store.journal(key)
    store.remove([KEY], [KEY])
    assert {p.name.split(".")[0] for p in store.folder.rglob("*.*") if p.is_file()} == {other}


# --------------------------------------------------------------------------------------------
# journals


@pytest.mark.parametrize(("content", "kept"), [(b"{}\n{}\n", b"{}\n{}\n"), (b'{}\n{"a": 1', b"{}\n"), (b'{"a', b"")])
def test_what_a_crash_left_of_a_last_line_is_cut_off(store, content, kept):
    path = store.folder / "studies" / f"{KEY}.journal"
    path.write_bytes(content)
    assert store.journal(KEY) == path
    assert path.read_bytes() == kept


def test_a_journal_with_a_broken_line_is_set_aside(store):
    path = store.folder / "studies" / f"{KEY}.journal"
    path.write_bytes(b"{}\nnoise\n{}\n")
    store.journal(KEY)
    assert not path.exists()
    assert path.with_name(f"{path.name}.damaged").exists()


HOLD = """
import sys
from pathlib import Path
from fusionbench.store.results import Store
with Store(Path(sys.argv[1])).holding([sys.argv[2]]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_study_is_held_by_one_process_and_let_go_when_it_is_killed(store):
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store.folder), KEY], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert child.stdout.readline() == b"held\n"
        with store.holding([KEY[::-1]]):  # another study is free
            pass
        with pytest.raises(WorkspaceError, match=r"another process is tuning .* wait until it has finished"):
            store.holding([KEY]).__enter__()
    finally:
        child.kill()
        child.communicate()
    with store.holding([KEY]):
        pass


# --------------------------------------------------------------------------------------------
# two writers, read-only folders, full disks

WRITE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.store.test_results import result
from fusionbench.store.results import Store
store = Store(Path(sys.argv[1]))
for _ in range(60):
    store.save(result())
"""


def test_two_processes_writing_one_key_leave_one_whole_result(store):
    children = [subprocess.Popen([sys.executable, "-c", WRITE, str(store.folder), ROOT]) for _ in range(2)]
    while any(c.poll() is None for c in children):
        found = store.load(KEY)
        assert found is None or found.content == result().content
    assert [c.returncode for c in children] == [0, 0]
    assert store.load(KEY).content == result().content
    assert [p.name for p in (store.folder / "fits").iterdir()] == [f"{KEY}.safetensors"]


def no_space(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_is_said_and_leaves_nothing_behind(store, monkeypatch, step):
    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), no_space)
    with pytest.raises(WorkspaceError, match=rf"{KEY}\.safetensors cannot be written: No space left on device"):
        store.save(result())
    assert list((store.folder / "fits").iterdir()) == []


def test_a_full_disk_keeps_what_was_there(store, monkeypatch):
    store.save(result())
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(WorkspaceError):
        store.save(result(seed=1))
    assert store.load(KEY).content == result().content


def denied(*_, **__):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_a_read_only_folder_is_said_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.TemporaryFile", denied)
    with pytest.raises(
        WorkspaceError, match="cannot be written: Permission denied; choose another folder with --workspace"
    ):
        Store(tmp_path / "results")


def test_a_file_in_the_way_of_the_folder_is_said(tmp_path):
    (tmp_path / "results").write_text("", encoding="utf-8")
    with pytest.raises(WorkspaceError, match="cannot be written"):
        Store(tmp_path / "results")


def test_a_result_that_may_not_be_read_is_said_and_not_thrown_away(store, monkeypatch):
    store.save(result())
    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(WorkspaceError, match="cannot be read"):
        store.load(KEY)
    monkeypatch.undo()
    assert store.load(KEY) is not None


def test_writing_makes_the_folder_and_replaces_a_file_whole(tmp_path):
    path = tmp_path / "deep" / "er" / "x.txt"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["x.txt"]


# --------------------------------------------------------------------------------------------
# content that is not what was written


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 8
    path.write_bytes(content)


@pytest.mark.parametrize("place", [-3, 200, 12, 0])
def test_one_flipped_bit_of_a_stored_result_is_found_and_said(tmp_path, place):
    said: list[str] = []
    store = Store(tmp_path, said.append)
    store.save(result())
    flip(tmp_path / "fits" / f"{KEY}.safetensors", place)
    assert store.load(KEY) is None
    assert len(said) == 1
    assert f"{KEY}.safetensors: damaged: " in said[0]
    assert "set aside" in said[0]


def test_a_bit_that_flips_after_the_first_look_is_found_when_predictions_are_read(store):
    store.save(result())
    assert store.scored(KEY)
    path = store.folder / "fits" / f"{KEY}.safetensors"
    before = path.stat()
    flip(path, -3)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.load(KEY) is None


@pytest.mark.parametrize("old", [False, True])
def test_two_swapped_results_are_both_refused(store, old):
    from safetensors import safe_open
    from safetensors.numpy import load, save

    keys = (KEY, KEY[::-1])
    paths = [store.folder / "fits" / f"{key}.safetensors" for key in keys]
    for key, path in zip(keys, paths, strict=True):
        store.save(result(key))
        if old:  # an earlier version wrote no hash
            with safe_open(path, framework="numpy") as file:
                record = file.metadata()["record"]
            path.write_bytes(save(load(path.read_bytes()), metadata={"record": record}))
    assert all(store.load(key) for key in keys)
    contents = [path.read_bytes() for path in paths]
    for path, content in zip(paths, contents[::-1], strict=True):
        path.write_bytes(content)
    assert [store.load(key) for key in keys] == [None, None]


def test_swapped_weights_are_refused(store):
    import torch

    keys = (KEY, KEY[::-1])
    paths = [store.folder / "weights" / f"{key}.safetensors" for key in keys]
    for i, key in enumerate(keys):
        store.save_weights(key, {"w": torch.full((3,), float(i))})
    assert store.weights(KEY)["w"].tolist() == [0.0] * 3
    contents = [path.read_bytes() for path in paths]
    for path, content in zip(paths, contents[::-1], strict=True):
        path.write_bytes(content)
    with pytest.raises(WorkspaceError, match="damaged"):
        store.weights(KEY)
    assert not store.has_sound_weights(KEY[::-1])
    assert not any(p.exists() for p in paths)


@pytest.mark.parametrize("content", ["{}", "[]", "null", '{"trials": [], "winner": null, "digest": ""}', "\ud83d"[:0]])
def test_what_is_no_finished_study_counts_as_open(store, content):
    path = store.folder / "studies" / f"{KEY}.json"
    path.write_text(content, encoding="utf-8")
    assert store.sealed_study(KEY) is None
    assert store.lost_studies == {KEY}
    assert path.with_name(f"{path.name}.damaged").exists()


@pytest.mark.parametrize("change", [("0.8", "0.9"), ("0.2", "0.3"), ('"number": 1', '"number": 0')])
def test_the_digest_of_a_study_is_computed_again_also_where_an_earlier_version_wrote_it(store, change):
    path = store.folder / "studies" / f"{KEY}.json"
    path.write_text(json.dumps(study()), encoding="utf-8")
    assert store.sealed_study(KEY) == study()
    path.write_text(json.dumps(study()).replace(*change), encoding="utf-8")
    assert store.sealed_study(KEY) is None


def test_a_swapped_study_is_refused(store):
    store.seal_study(KEY, study())
    other = store.folder / "studies" / f"{KEY[::-1]}.json"
    (store.folder / "studies" / f"{KEY}.json").rename(other)
    assert store.sealed_study(KEY[::-1]) is None


def test_a_changed_line_of_a_journal_is_found_and_an_old_one_is_taken(store):
    path = store.folder / "studies" / f"{KEY}.journal"
    lines = [json.dumps(logged({"value": 0.5 + i}, KEY, i)) for i in range(3)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert store.journal(KEY).exists()
    for wrong in ([lines[0], lines[1].replace("1.5", "1.6"), lines[2]], [lines[0], lines[2], lines[1]]):
        path.write_text("\n".join(wrong) + "\n", encoding="utf-8")
        assert not store.journal(KEY).read_bytes() if store.journal(KEY).exists() else True
        assert path.with_name(f"{path.name}.damaged").exists()
    path.write_text('{"value": 1}\n', encoding="utf-8")
    store.journal(KEY)
    assert path.exists()


def test_damaged_maps_and_masks_are_found(store):
    said: list[str] = []
    store.say = said.append
    store.save_maps(KEY, {"key": {"rows": 3}})
    assert store.maps(KEY) == {"key": {"rows": 3}}
    path = store.folder / "maps" / f"{KEY}.json"
    path.write_text(path.read_text(encoding="utf-8").replace("3", "4", 1), encoding="utf-8")
    assert store.maps(KEY) is None
    mask = np.array([[True, False]])
    store.save_mask("m", mask)
    flip(store.folder / "masks" / "m.npy", -1)
    store.save_mask("m", mask)
    assert (np.load(store.folder / "masks" / "m.npy") == mask).all()
    assert len(said) == 2
