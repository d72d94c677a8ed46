"""Prepared data in a folder: what is opened trains the same models, and needs neither files nor encoders of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fusionbench.data import prepared as module
from fusionbench.data.prepared import content_of, keep, opened, read
from fusionbench.errors import WorkspaceError
from fusionbench.progress import SilentProgress
from fusionbench.store.files import Folder
from fusionbench.targets import TargetKind
from tests.builders import make_run

CPU = torch.device("cpu")


def reopened(run, folder):
    place = keep(run.prepared, folder, SilentProgress())
    return opened(read(place), run.resolved.encoders, CPU)


def same_tensors(found, wanted):
    assert list(found) == list(wanted)
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name


def test_what_is_kept_is_what_is_opened(tmp_path):
    run = make_run(tmp_path / "runs")
    found = reopened(run, tmp_path / "prepared")
    table, wanted = found.table, run.table
    for what in ("values", "lengths", "standardise", "zero"):
        same_tensors(getattr(table, what), getattr(wanted, what))
    assert torch.equal(table.available, wanted.available)
    assert torch.equal(table.target, wanted.target)
    assert (table.kind, table.num_outputs, table.encoded) == (wanted.kind, wanted.num_outputs, wanted.encoded)
    assert table.zero_lengths == wanted.zero_lengths
    assert found.metric == run.metric
    for number, fold in run.folds.items():
        mine = found.folds[number]
        assert np.array_equal(mine.development.train, fold.development.train)
        assert np.array_equal(mine.development.validation, fold.development.validation)
        assert np.array_equal(mine.test.open("digest"), fold.test.open("digest"))
    for name in ("kind", "outputs", "digest", "synthetic", "metric"):
        assert getattr(found.dataset, name) == getattr(run.dataset, name)
    assert np.array_equal(found.dataset.groups, run.dataset.groups)
    assert {n: m.identity for n, m in found.modalities.items()} == {n: m.identity for n, m in run.modalities.items()}


def test_test_rows_are_sealed_again(tmp_path):
    found = reopened(make_run(tmp_path / "runs"), tmp_path / "prepared")
    with pytest.raises(ValueError, match="open only with the digest"):
        found.folds[0].test.open("")


def test_a_run_on_what_was_opened_has_the_same_keys(tmp_path):
    run = make_run(tmp_path / "runs")
    other = make_run(tmp_path / "runs")
    other.prepare(reopened(run, tmp_path / "prepared"))
    assert [f.key for f in other.plan.fits] == [f.key for f in run.plan.fits]


@pytest.mark.parametrize("size", [10, 100_000])
def test_large_arrays_are_mapped_and_what_is_written_to_them_reaches_no_file(tmp_path, monkeypatch, size):
    run = make_run(tmp_path / "runs")
    monkeypatch.setattr(module, "MAPPED_FROM", size)
    place = keep(run.prepared, tmp_path / "prepared", SilentProgress())
    content = read(place)
    name = "table/values/a"
    assert isinstance(content.arrays[name], np.memmap) == (size == 10)
    before = content.arrays[name].copy()
    content.arrays[name][:] = 7
    assert np.array_equal(read(place).arrays[name], before)
    assert not isinstance(content.in_memory().arrays[name], np.memmap)


def test_an_array_that_another_process_owns_is_copied(tmp_path):
    run = make_run(tmp_path)
    content = content_of(run.prepared)
    for array in content.arrays.values():
        array.flags.writeable = False
    found = opened(content, run.resolved.encoders, CPU)
    found.table.values["a"][:] = 3
    assert not (content.arrays["table/values/a"] == 3).all()


def test_it_is_written_once_and_another_split_is_another_entry(tmp_path, monkeypatch):
    folder, quiet = tmp_path / "prepared", SilentProgress()
    run = make_run(tmp_path / "runs")
    place = keep(run.prepared, folder, quiet)
    with monkeypatch.context() as patch:
        patch.setattr(module.np, "save", lambda *a, **k: 1 / 0)
        assert keep(run.prepared, folder, quiet) == place
    others = [
        make_run(tmp_path / "runs", splits={"folds": 3}),
        make_run(tmp_path / "runs", task={"name": "toy", "rows": 150}),
    ]
    names = {keep(other.prepared, folder, quiet).name for other in others}
    assert len(names | {place.name}) == 3


def test_what_is_damaged_is_not_opened_and_is_made_again(tmp_path):
    run = make_run(tmp_path / "runs")
    place = keep(run.prepared, tmp_path / "prepared", SilentProgress())
    (place / "0.npy").write_bytes(b"no array")
    with pytest.raises(WorkspaceError, match="not there or not whole"):
        read(place)
    assert keep(run.prepared, tmp_path / "prepared", SilentProgress()) == place
    assert read(place).arrays


def test_data_of_people_are_for_their_owner(tmp_path):
    run = make_run(tmp_path / "runs")
    real = replace(run.prepared, dataset=replace(run.dataset, synthetic=False))
    place = keep(real, tmp_path / "prepared", SilentProgress())
    assert place.stat().st_mode & 0o077 == 0


def test_it_waits_for_another_process_that_writes_the_same(tmp_path):
    run, said = make_run(tmp_path / "runs"), SilentProgress()
    place = keep(run.prepared, tmp_path / "prepared", said)
    hidden = place.rename(tmp_path / "hidden")

    class Says(SilentProgress):
        def note(self, message):
            super().note(message)
            hidden.rename(place)
            held.__exit__(None, None, None)

    held = Folder(tmp_path / "prepared").held(place.name)
    held.__enter__()
    says = Says()
    assert keep(run.prepared, tmp_path / "prepared", says) == place
    assert says.notes == ["prepared data: another process writes them; waiting for it"]


def test_no_text_and_no_raw_content_is_in_it(tmp_path):
    run = make_run(tmp_path)
    content = content_of(run.prepared)
    kinds = {array.dtype.kind for array in content.arrays.values()}
    assert kinds <= {"f", "i", "u", "b"}
    assert content.nbytes == sum(a.nbytes for a in content.arrays.values())
    found = opened(content, run.resolved.encoders, CPU)
    assert all(len(m.values) == 0 for m in found.dataset.modalities.values())
    assert found.dataset.kind is TargetKind.BINARY
