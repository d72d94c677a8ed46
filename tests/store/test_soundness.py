"""What ``doctor`` finds in a workspace: every kind of file that was changed, and nothing else."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from fusionbench.store.integrity import HASHES, hash_of_file, hashes_of, with_hash
from fusionbench.store.results import Store
from fusionbench.store.soundness import damaged
from fusionbench.store.studies import logged
from fusionbench.store.workspace import Workspace
from tests.store.test_results import KEY, result, study

OTHER = KEY[::-1]


@pytest.fixture
def folders(tmp_path):
    """A workspace with one of everything."""
    folders = Workspace(tmp_path)
    store = Store(folders.results.root)
    store.save(result())
    store.save_weights(KEY, {"w": torch.ones(3)})
    store.save_maps(KEY, {"a": {"rows": 3}})
    store.seal_study(KEY, study())
    line = json.dumps(logged({"value": 0.25}, KEY, 0))
    (folders.results.studies / f"{KEY}.journal").write_text(f"{line}\n{{}}\n", encoding="utf-8")
    features = folders.features / "entry"
    features.mkdir(parents=True)
    np.save(features / "features.npy", np.ones(4))
    said = {"sha256": {"features.npy": hash_of_file(features / "features.npy")}}
    (features / "manifest.json").write_text(json.dumps(said), encoding="utf-8")
    cache = folders.task("table") / "events-1"
    cache.mkdir(parents=True)
    (cache / "x.npy").write_bytes(b"content")
    said = {"files": {"x.npy": {"bytes": 7, "sha256": hash_of_file(cache / "x.npy")}}}
    (cache / "manifest.json").write_text(json.dumps(said), encoding="utf-8")
    for folder, listing in (
        (folders.results.tables / KEY, folders.results.tables / KEY / HASHES),
        (folders.report("toy"), folders.results.written / "toy.html.json"),
    ):
        folder.mkdir(parents=True)
        (folder / "page").write_bytes(b"content")
        listing.parent.mkdir(exist_ok=True)
        listing.write_bytes(hashes_of(folder, ["page"]))
    return folders


def test_a_sound_workspace_has_nothing_damaged(folders):
    assert list(damaged(folders, deep=True)) == []


@pytest.mark.parametrize(
    ("name", "deep"),
    [
        (f"results/fits/{KEY}.safetensors", False),
        (f"results/studies/{KEY}.json", False),
        (f"results/studies/{KEY}.journal", False),
        (f"results/maps/{KEY}.json", False),
        (f"results/weights/{KEY}.safetensors", True),
        ("cache/features/entry/features.npy", True),
        ("cache/tasks/table/events-1/x.npy", True),
        (f"results/tables/{KEY}/page", True),
        ("reports/toy/page", True),
    ],
)
def test_a_flipped_bit_is_found_and_nothing_is_touched(folders, name, deep):
    path = folders.root / name
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)
    before = sorted(folders.root.rglob("*"))
    assert len(list(damaged(folders, deep=True))) == 1
    assert len(list(damaged(folders, deep=False))) == (0 if deep else 1)
    assert sorted(folders.root.rglob("*")) == before


@pytest.mark.parametrize("name", [f"results/fits/{KEY}.safetensors", f"results/weights/{KEY}.safetensors"])
def test_what_lies_under_the_name_of_another_is_found(folders, name):
    path = folders.root / name
    path.rename(path.with_name(f"{OTHER}.safetensors"))
    assert [(p.stem, reason.partition(":")[0]) for p, reason in damaged(folders, deep=True)] == [
        (OTHER, "it is another one's")
    ]


def test_what_was_set_aside_is_not_looked_at_again(folders):
    path = folders.results.fits / f"{KEY}.safetensors"
    path.write_bytes(b"")
    path.rename(path.with_name(f"{path.name}.damaged"))
    assert list(damaged(folders, deep=True)) == []


def test_a_result_of_a_version_that_kept_probabilities_is_no_damage(folders):
    path = folders.results.fits / f"{KEY}.safetensors"
    record = {"record": json.dumps({"key": KEY})}
    path.write_bytes(with_hash(KEY, save({"complete@0": np.zeros((3, 1), dtype=np.float32)}, metadata=record)))
    assert list(damaged(folders, deep=True)) == []
    assert Store(folders.results.root, say=lambda _: None).load(KEY) is None  # and counts as absent
