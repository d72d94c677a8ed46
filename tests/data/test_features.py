from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

from fusionbench import InputSpec, Modality
from fusionbench.contract.learners import Encoder
from fusionbench.data.features import encode
from fusionbench.errors import PluginError, WorkspaceError
from fusionbench.progress import SilentProgress
from fusionbench.store.files import Folder

ROWS = 7


class Doubler(Encoder):
    """Twice the input; counts its calls, and can be made to misbehave."""

    accepts = frozenset({"vector"})

    def __init__(self, width=3, bias=1.0, spoil=None):
        super().__init__()
        self.output_dim = width
        self.frozen = True
        self.register_buffer("bias", torch.tensor(bias))
        self.batches = []
        self.spoil = spoil

    def forward(self, inputs, lengths=None):
        self.batches.append(len(inputs))
        assert not torch.is_grad_enabled()
        assert not self.training
        output = 2 * inputs + self.bias
        return self.spoil(output, len(self.batches)) if self.spoil else output


class Letters(Encoder):
    """Tokens: each letter's number; never reads more letters than the longest text of the batch has."""

    accepts = frozenset({"text"})

    def __init__(self, pooled=False):
        super().__init__()
        self.output_dim = 2
        self.frozen = True
        self.pooled = pooled
        self.shapes = []

    def prepare(self, values):
        tokens = np.zeros((len(values), 5), dtype=np.int64)
        for row, text in zip(tokens, values, strict=True):
            row[: len(text)] = [ord(c) for c in text]
        return tokens, np.array([max(len(t), 1) for t in values])

    def forward(self, inputs, lengths=None):
        self.shapes.append(tuple(inputs.shape))
        valid = torch.arange(inputs.shape[1]) < lengths[:, None]
        states = torch.stack([inputs * valid, valid], dim=2).float()
        return states.sum(dim=1) if self.pooled else states


def vectors():
    values = np.arange(ROWS * 3, dtype=np.float64).reshape(ROWS, 3)
    return Modality("vector", values, standardise=np.array([True, False, True]))


def run(encoder, store, modality=None, *, parts=None, batch_size=3, progress=None, **options):
    parts = {"data": "abc", "modality": "x"} if parts is None else parts
    modality = vectors() if modality is None else modality
    return encode(
        modality, encoder, parts, store, "cpu", batch_size, progress or SilentProgress(), "Encode x", **options
    )


def entries(store):
    return sorted(p for p in store.iterdir() if not p.name.startswith("."))


def drafts(store):
    return sorted(p for p in store.iterdir() if p.name.startswith(".") and p.name != ".held")  # the file of the locks


# ---------------------------------------------------------------------------------------- content


def test_a_frozen_encoder_runs_once_in_batches_and_is_then_read_from_a_map(tmp_path):
    encoder = Doubler()
    first = run(encoder, tmp_path)
    assert encoder.batches == [1, 3, 3, 1]
    np.testing.assert_array_equal(first.values, 2 * vectors().values + 1)
    again = Doubler()
    second = run(again, tmp_path)
    assert again.batches == []
    for found in (first, second):
        assert isinstance(found.values, np.memmap)
        assert not found.values.flags.writeable
        assert found.values.dtype == np.float32
        assert found.encoded
        assert found.standardise.tolist() == [True, True, True]
        assert found.zero_input.tolist() == [1, 1, 1]
        assert (found.lengths, found.zero_length) == (None, None)
    np.testing.assert_array_equal(first.values, second.values)


def test_the_manifest_says_what_it_is(tmp_path):
    encoder = Doubler()
    run(encoder, tmp_path)
    (folder,) = entries(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["encoder"] == "Doubler"
    assert manifest["fingerprint"] == encoder.fingerprint()
    assert manifest["parts"] == {"data": "abc", "modality": "x"}
    assert (manifest["shape"], manifest["dtype"], manifest["weights"]) == ([ROWS, 3], "float32", "none")
    assert not drafts(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"encoder": Doubler(bias=2.0)},
        {"parts": {"data": "abd", "modality": "x"}},
        {"parts": {"data": "abc", "modality": "y"}},
        {"modality": Modality("series", vectors().values)},
    ],
)
def test_whatever_decides_the_content_is_in_the_key(tmp_path, change):
    run(Doubler(), tmp_path)
    run(change.get("encoder", Doubler()), tmp_path, change.get("modality"), parts=change.get("parts"))
    assert len(entries(tmp_path)) == 2


def test_the_library_version_is_in_the_key(tmp_path, monkeypatch):
    run(Doubler(), tmp_path)
    monkeypatch.setattr(torch, "__version__", "0.0.1")
    run(Doubler(), tmp_path)
    assert len(entries(tmp_path)) == 2


def test_the_encoder_comes_back_in_the_mode_it_came_in(tmp_path):
    encoder = Doubler().train()
    run(encoder, tmp_path)
    assert encoder.training


def test_only_available_rows_are_encoded_and_the_others_are_zeros(tmp_path):
    encoder = Doubler()
    available = np.array([True, False, True, False, False, True, True])
    found = run(encoder, tmp_path, available=available)
    assert encoder.batches == [1, 3, 1]
    np.testing.assert_array_equal(found.values[available], 2 * vectors().values[available] + 1)
    assert not found.values[~available].any()


def test_nothing_available_leaves_zeros(tmp_path):
    found = run(Doubler(), tmp_path, available=np.zeros(ROWS, dtype=bool))
    assert found.values.shape == (ROWS, 3)
    assert not found.values.any()


def test_texts_are_encoded_longest_first_cut_to_the_batch_and_stored_in_their_rows(tmp_path):
    encoder = Letters()
    texts = ["ab", "", "abcde", "a", "abc"]
    for _ in range(2):
        found = run(encoder, tmp_path, Modality("text", texts), batch_size=2)
        tokens, lengths = encoder.prepare(texts)
        np.testing.assert_array_equal(found.values[..., 0], tokens)
        assert found.lengths.tolist() == lengths.tolist() == [2, 1, 5, 1, 3]
        assert found.zero_length == 1
        assert found.zero_input.shape == (5, 2)
    assert encoder.shapes == [(1, 5), (2, 5), (2, 2), (1, 1)]


def test_pooled_texts_have_no_lengths_any_more(tmp_path):
    found = run(Letters(pooled=True), tmp_path, Modality("text", ["ab", ""]))
    assert found.values.shape == (2, 2)
    assert found.lengths is None
    assert found.zero_length is None


def test_lengths_of_a_series_reach_the_encoder(tmp_path):
    from fusionbench_plugins.encoders.series_summary import SeriesSummary

    values = np.random.default_rng(0).normal(size=(ROWS, 6, 2))
    values[0, 2:] = np.nan
    lengths = np.array([2] + [6] * (ROWS - 1))
    found = run(SeriesSummary(InputSpec("series", (6, 2))), tmp_path, Modality("series", values, lengths))
    np.testing.assert_allclose(found.values[0, :2], values[0, :2].mean(axis=0), rtol=1e-5)
    assert found.lengths is None


def test_a_read_only_map_of_pictures_is_encoded_without_a_copy_of_the_whole(tmp_path):
    from fusionbench_plugins.encoders.image_grid import ImageGrid

    np.save(tmp_path / "images.npy", np.full((ROWS, 16, 16), 51, dtype=np.uint8))
    pictures = np.load(tmp_path / "images.npy", mmap_mode="r")
    found = run(ImageGrid(InputSpec("image", (16, 16)), grid=2), tmp_path / "store", Modality("image", pictures))
    np.testing.assert_allclose(found.values[:, :4], 0.2, rtol=1e-6)
    np.testing.assert_array_equal(found.zero_input, np.zeros(7))


def test_a_trainable_encoder_is_not_run_and_its_input_is_not_copied(tmp_path):
    encoder = Doubler()
    encoder.frozen = False
    modality = vectors()
    found = run(encoder, tmp_path / "store", modality)
    assert found.values is modality.values
    assert found.standardise is modality.standardise
    assert found.zero_input.tolist() == [0, 0, 0]
    assert not found.encoded
    assert encoder.batches == []
    assert not (tmp_path / "store").exists()


def test_a_trainable_text_encoder_gets_tokens_and_lengths(tmp_path):
    encoder = Letters()
    encoder.frozen = False
    found = run(encoder, tmp_path, Modality("text", ["ab", ""]))
    assert found.values.tolist() == [[97, 98, 0, 0, 0], [0, 0, 0, 0, 0]]
    assert found.lengths.tolist() == [2, 1]
    assert (found.zero_input.tolist(), found.zero_length) == ([0] * 5, 1)
    assert found.standardise is None


# ---------------------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda y, call: y if call < 3 else y.fill_(torch.nan),
            "Encode x: encoder Doubler returned NaN .* 3 of the 3 rows",
        ),
        (lambda y, call: y[:, :2], r"returned shape \[1, 2\], expected \[1, 3\] or"),
        (lambda y, call: y.sum(dim=1), r"returned shape \[1\]"),
    ],
)
def test_an_encoder_that_misbehaves_is_named_and_leaves_nothing(tmp_path, spoil, message):
    with pytest.raises(PluginError, match=message):
        run(Doubler(spoil=spoil), tmp_path)
    assert entries(tmp_path) + drafts(tmp_path) == []


def test_an_encoder_that_cannot_read_a_file_is_not_taken_for_a_full_disk(tmp_path):
    def fail(_output, _call):
        raise FileNotFoundError("lookup.bin")

    with pytest.raises(PluginError, match=r"encoder Doubler failed: FileNotFoundError: lookup\.bin"):
        run(Doubler(spoil=fail), tmp_path)


def test_a_store_that_cannot_be_written_says_what_to_do(tmp_path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(WorkspaceError, match="cannot be written: Not a directory; free some space"):
        run(Doubler(), tmp_path / "file" / "store")


def test_a_full_disk_is_an_error_of_the_workspace(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fusionbench.data.features._begin", full)
    with pytest.raises(WorkspaceError, match="No space left on device"):
        run(Doubler(), tmp_path)
    assert entries(tmp_path) + drafts(tmp_path) == []


def test_an_interruption_leaves_nothing_and_is_passed_on(tmp_path):
    def stop(output, call):
        if call == 3:
            raise KeyboardInterrupt
        return output

    with pytest.raises(KeyboardInterrupt):
        run(Doubler(spoil=stop), tmp_path)
    assert entries(tmp_path) + drafts(tmp_path) == []


def cut(path):
    path.write_bytes(path.read_bytes()[:-4])


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "manifest.json").unlink(),
        lambda folder: (folder / "manifest.json").write_text("{", encoding="utf-8"),
        lambda folder: (folder / "manifest.json").write_text("[]", encoding="utf-8"),
        lambda folder: cut(folder / "features.npy"),
        lambda folder: (folder / "features.npy").write_bytes(b""),
        lambda folder: (folder / "zero.npy").unlink(),
        lambda folder: np.save(folder / "features.npy", np.zeros((2, 3), np.float32)),
    ],
)
def test_a_damaged_entry_is_computed_again(tmp_path, damage):
    run(Doubler(), tmp_path)
    (folder,) = entries(tmp_path)
    damage(folder)
    encoder = Doubler()
    found = run(encoder, tmp_path)
    assert encoder.batches == [1, 3, 3, 1]
    np.testing.assert_array_equal(found.values, 2 * vectors().values + 1)
    assert entries(tmp_path) == [folder, folder.with_name(f"{folder.name}.damaged")]
    assert not drafts(tmp_path)


def test_drafts_of_killed_processes_are_never_read_and_removed_when_old(tmp_path):
    run(Doubler(), tmp_path)
    (folder,) = entries(tmp_path)
    old, older, young = (
        tmp_path / f".{folder.name}{end}" for end in (f".{'0' * 32}.partial", f"-{'1' * 32}", ".partial")
    )
    folder.rename(old)
    older.mkdir()  # as earlier versions called them
    young.mkdir()
    for path in (old, older):
        os.utime(path, (time.time() - 7200,) * 2)
    encoder = Doubler()
    run(encoder, tmp_path)
    assert encoder.batches
    assert drafts(tmp_path) == [young]


def test_of_two_that_want_the_same_entry_one_encodes_and_the_other_waits_for_it(tmp_path):
    begun, waited = threading.Event(), threading.Event()
    found = {}

    class Notes(SilentProgress):
        def note(self, message):
            super().note(message)
            waited.set()

    def slow(output, call):
        begun.set()
        assert waited.wait(20)
        return output

    first = threading.Thread(target=lambda: found.update(one=run(Doubler(spoil=slow), tmp_path)))
    first.start()
    assert begun.wait(20)
    notes, second = Notes(), Doubler()
    found["other"] = run(second, tmp_path, progress=notes)
    first.join()
    assert second.batches == []
    assert notes.notes == ["Encode x: another process is at it; waiting for it"]
    np.testing.assert_array_equal(found["one"].values, found["other"].values)
    assert len(entries(tmp_path)) == 1
    assert not drafts(tmp_path)


def test_tokens_that_cannot_be_read_are_not_taken_for_a_full_disk(tmp_path):
    class Lost(Letters):
        def prepare(self, values):
            raise FileNotFoundError("vocabulary.txt")

    with pytest.raises(PluginError, match=r"Encode x: encoder Lost failed: FileNotFoundError: vocabulary\.txt"):
        run(Lost(), tmp_path, Modality("text", ["ab"]))


def test_progress_is_shown_in_rows(tmp_path):
    from contextlib import contextmanager

    seen = []

    class Recorder(SilentProgress):
        @contextmanager
        def stage(self, title, total=None, unit=""):
            seen.append((title, total, unit))
            yield type("Stage", (), {"advance": staticmethod(lambda steps=1, note="": seen.append(steps))})()

    run(Doubler(), tmp_path, progress=Recorder())
    assert seen == [("Encode x", ROWS, "rows"), 3, 3, 1]
    run(Doubler(), tmp_path, progress=Recorder())
    assert len(seen) == 4


# ---------------------------------------------------------------- what an encoder leaves out


class Frank(Letters):
    """Says what it was shown."""

    def remarks(self, values):
        return [f"{len(values)} texts, {sum(map(len, values))} letters\x1b[31m"]


def frank(store, **options):
    modality = Modality("text", ["abc", "", "de", "f"])
    there = np.array([True, False, True, True])
    encoder = Frank(pooled=True)
    encoder.frozen = options.get("frozen", True)
    return encode(modality, encoder, {"data": "d"}, store, "cpu", 2, SilentProgress(), "encoding", there)


def test_remarks_are_about_rows_that_are_there_and_are_kept_with_the_features(tmp_path):
    first, second = frank(tmp_path), frank(tmp_path)
    assert first.remarks == second.remarks
    assert first.remarks[0].startswith("3 texts, 6 letters")
    assert "\x1b" not in first.remarks[0]
    assert frank(tmp_path, frozen=False).remarks == first.remarks


def test_entries_of_earlier_versions_have_none(tmp_path):
    frank(tmp_path)
    (manifest,) = tmp_path.glob("*/manifest.json")
    content = json.loads(manifest.read_text(encoding="utf-8"))
    del content["remarks"]
    manifest.write_text(json.dumps(content), encoding="utf-8")
    assert frank(tmp_path).remarks == ()


# --------------------------------------------------------------------------------------------
# features: one process encodes, the others wait

ENCODING = """
import sys
from pathlib import Path
import numpy as np
import torch
from fusionbench import Modality
from fusionbench.data.features import encode
from fusionbench.progress import SilentProgress
from fusionbench.store.files import Folder
from fusionbench.types import Encoder


class Once(Encoder):
    accepts = frozenset({"vector"})

    def __init__(self, works):
        super().__init__()
        self.output_dim, self.frozen, self.works = 2, True, works

    def forward(self, inputs, lengths=None):
        assert self.works, "it was encoded a second time"
        return 2 * inputs


class Said(SilentProgress):
    def note(self, message):
        print(message, flush=True)


def run(store, works):
    modality = Modality("vector", np.arange(6.0).reshape(3, 2))
    return encode(modality, Once(works), {"data": "x"}, Path(store), "cpu", 3, Said(), "encoding x")
"""


def test_a_process_waits_for_the_one_that_encodes(tmp_path):
    module, store = tmp_path / "encoding.py", tmp_path / "features"
    module.write_text(ENCODING, encoding="utf-8")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import encoding; print(encoding.run({str(store)!r}, False).values.sum())"
    scope = {"__name__": "encoding"}  # a part of the encoder's fingerprint
    exec(compile(ENCODING, str(module), "exec"), scope)  # the same encoder in this process
    encoded = scope["run"](tmp_path / "elsewhere", True).values.sum()
    (folder,) = [p for p in (tmp_path / "elsewhere").iterdir() if p.is_dir()]
    with Folder(store).held(folder.name):
        other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert other.stdout.readline() == "encoding x: another process is at it; waiting for it\n"
        folder.rename(store / folder.name)
    out, _ = other.communicate(timeout=60)
    assert (other.returncode, float(out)) == (0, float(encoded))
