"""The cached steps: what is done again and what is not, and what their warnings say."""

from __future__ import annotations

import numpy as np
import pytest

from fusionbench.errors import WorkspaceError
from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.mimic.studies import images
from fusionbench_plugins.tasks.mimic.tables import arrays, extract
from fusionbench_plugins.tasks.mimic_ihm import MimicIhm
from tests.mimic_tree import PATIENTS, prepare, small_tree
from tests.plugins.tasks.mimic.tables.test_extract import column
from tests.plugins.tasks.mimic.test_bad_input import fails
from tests.plugins.tasks.test_mimic_phenotyping import coded_tree
from tests.plugins.tasks.test_mimic_phenotyping import prepare as prepare_coded


def test_second_prepare_reads_the_cache(tmp_path, monkeypatch):
    first = prepare(tmp_path, chest=True)
    monkeypatch.setattr(extract, "extract", lambda *_: pytest.fail("extracted again"))
    monkeypatch.setattr(arrays, "write_series", lambda *_: pytest.fail("encoded again"))
    roots = [str(tmp_path / name) for name in ("mimic-iv", "mimic-cxr")]
    second = MimicIhm(*roots).prepare(tmp_path / "cache", SilentProgress())
    assert second.digest == first.digest
    np.testing.assert_array_equal(second.modalities["ehr"].values, first.modalities["ehr"].values)


def test_changed_table_is_extracted_again(tmp_path):
    tree = small_tree()
    before = prepare(tmp_path, tree)
    tree.chart(0, 3, 220045, 120)
    after = prepare(tmp_path, tree)
    assert after.digest != before.digest
    assert column(after, "Heart Rate")[0, 1] == 120


def test_damaged_cache_entry_is_built_anew(tmp_path):
    before = prepare(tmp_path)
    expected = np.array(before.modalities["ehr"].values)
    (series,) = (tmp_path / "cache").glob("series-*/series.npy")
    del before
    series.write_bytes(series.read_bytes()[:-4])
    root = str(tmp_path / "mimic-iv")
    again = MimicIhm(root).prepare(tmp_path / "cache", SilentProgress())
    np.testing.assert_array_equal(again.modalities["ehr"].values, expected)


def test_failed_build_leaves_nothing_that_could_be_read(tmp_path, monkeypatch):
    def half(events, ends, rules, step, most, folder, resources):
        (folder / "series.npy").write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(arrays, "write_series", half)
        with pytest.raises(KeyboardInterrupt):
            prepare(tmp_path)
    assert [path.name.split("-")[0] for path in (tmp_path / "cache").glob("[!.]*")] == ["events"]
    assert not list((tmp_path / "cache").glob(".*.partial"))
    assert len(prepare(tmp_path)) == PATIENTS


def test_root_of_images_without_images(tmp_path):
    tree = small_tree()
    tree.files.clear()
    assert "neither a folder files/ nor images.zip" in fails(tmp_path, tree, chest=True)


def test_picture_of_no_bytes_leaves_its_stay_without_image(tmp_path):
    tree = small_tree()
    tree.files[min(tree.files)] = b""
    dataset = prepare(tmp_path, tree, chest=True)
    assert dataset.available[:, 1].tolist() == [False] + [True] * 7
    assert any("1 are damaged" in warning for warning in dataset.warnings)


def test_full_disk_while_encoding(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(images, "write_images", full)
    message = fails(tmp_path, small_tree(), WorkspaceError, chest=True)
    assert "No space left on device" in message
    assert not list((tmp_path / "cache").glob("images-*"))


def test_version_of_the_extraction_enters_the_key(tmp_path, monkeypatch):
    prepare(tmp_path)
    monkeypatch.setattr(extract, "VERSION", extract.VERSION + 1)
    prepare(tmp_path)
    assert len(list((tmp_path / "cache").glob("events-*"))) == 2


def test_report_margin_counts_from_the_end_of_each_stay(tmp_path):
    tree = coded_tree()
    tree.tables["icustays"][0]["los"] = 0.4  # the picture of hour 5 is in its last six hours
    dataset = prepare_coded(tmp_path, tree, chest=True, report_margin_hours=6)
    assert dataset.available[:2, 2].tolist() == [False, True]
    assert dataset.available[:2, 1].tolist() == [True, True]
