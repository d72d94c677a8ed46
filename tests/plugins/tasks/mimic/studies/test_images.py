"""Which chest X-ray and which report belong to a stay, and how they are read."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fusionbench import Dataset
from fusionbench.errors import DataError
from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks._pictures import decode
from fusionbench_plugins.tasks.mimic.studies import images
from fusionbench_plugins.tasks.mimic.task import prepare
from fusionbench_plugins.tasks.mimic_ihm import MimicIhm
from tests.mimic_tree import PATIENTS, picture, small_tree
from tests.mimic_tree import prepare as prepare_tree
from tests.shared import shared_folder

SECOND = 1 / 3600


def linked(cache: Path) -> list[images.Link]:
    (path,) = cache.glob("links-*/links.parquet")
    return images.read_links(path)


def available(dataset: Dataset, name: str) -> list[bool]:
    return dataset.available[:, list(dataset.modalities).index(name)].tolist()


def demo(cache: Path, **options: object) -> Dataset:
    roots = [str(shared_folder("data", name)) for name in ("mimic-iv-demo", "mimic-cxr-made-up")]
    return MimicIhm(*roots, **options).prepare(cache, SilentProgress())  # type: ignore[arg-type]


# ---------------------------------------------------------------- made-up files for the open demo


def test_demo_links_equal_those_of_the_peer(tmp_path):
    import pandas as pd

    demo(tmp_path)
    (stays,) = tmp_path.glob("events-*/stays.parquet")
    stay_ids = pd.read_parquet(stays)["stay_id"].tolist()
    with shared_folder("data", "mimic-cxr-made-up-oracle", "links_ihm.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert all(row["ap_images_at_same_time"] == "1" for row in rows)  # else any of them would do
    expected = {(int(row["stay_id"]), int(row["study_id"]), row["dicom_id"]) for row in rows}
    assert {(stay_ids[link.row], link.study_id, link.dicom_id) for link in linked(tmp_path)} == expected


def test_demo_dataset_has_seven_images_and_reports(tmp_path):
    dataset = demo(tmp_path)
    assert list(dataset.modalities) == ["ehr", "cxr", "report"]
    assert dataset.available.sum(axis=0).tolist() == [27, 7, 7]
    pictures, texts = dataset.modalities["cxr"].values, dataset.modalities["report"].values
    assert pictures.shape == (27, 64, 64)
    assert pictures.dtype == np.uint8
    assert [bool(text) for text in texts] == available(dataset, "report")
    shown = np.asarray(pictures).reshape(27, -1).max(axis=1) > 0
    assert shown.tolist() == available(dataset, "cxr")


def test_demo_paired_cohort_has_the_stays_with_everything(tmp_path):
    dataset = demo(tmp_path, cohort="paired")
    assert len(dataset) == 7
    assert dataset.available.all()
    assert dataset.funnel[-1][:2] == ("every modality", 7)
    assert all(dataset.modalities["report"].values)
    assert dataset.groups.min() == 0


# ---------------------------------------------------------------- links


def test_window_is_closed_at_both_ends(tmp_path):
    tree = small_tree()
    tree.metadata.clear()
    for patient, hours in enumerate((-SECOND, 0, 48, 48 + SECOND)):
        tree.image(patient, hours, f"at-{patient}")
    dataset = prepare_tree(tmp_path, tree, chest=True)
    assert available(dataset, "cxr")[:4] == [False, True, True, False]


def test_last_ap_image_is_taken_and_equal_times_go_by_identifier(tmp_path):
    tree = small_tree()
    tree.metadata.clear()
    tree.image(0, 5, "early")
    tree.image(0, 9, "b")
    tree.image(0, 9, "a")
    tree.image(0, 20, "side", view="LATERAL")
    tree.image(0, 21, "other", view="PA")
    tree.image(0, 22, "unknown", view="")
    prepare_tree(tmp_path, tree, chest=True)
    (link,) = linked(tmp_path / "cache")
    assert (link.dicom_id, link.hours) == ("a", 9)


@pytest.mark.parametrize(("time", "hours"), [("0.0", 16), ("307.250", 16 + 187 / 3600), ("85959.999", 25 - SECOND)])
def test_study_time_has_no_leading_zeros_and_fractions_are_cut(tmp_path, time, hours):
    tree = small_tree()
    tree.metadata = tree.metadata[:1]
    tree.metadata[0] |= {"StudyDate": "21500102", "StudyTime": time}
    prepare_tree(tmp_path, tree, chest=True)
    (link,) = linked(tmp_path / "cache")
    assert link.hours == pytest.approx(hours, abs=1e-9)


def test_image_without_a_valid_time_is_left_out_and_counted(tmp_path):
    tree = small_tree()
    tree.metadata[0]["StudyDate"] = "21501301"
    tree.metadata[1]["StudyTime"] = ""
    dataset = prepare_tree(tmp_path, tree, chest=True)
    assert available(dataset, "cxr")[:3] == [False, False, True]
    assert any("2 of 8 chest X-rays have no valid date and time" in warning for warning in dataset.warnings)


def test_image_outside_the_window_is_refused_by_the_guard():
    links = [images.Link(row, 0, 0, "", hours) for row, hours in enumerate([1.0, 48.0, 48.01, -1.0, 47.0])]
    with pytest.raises(DataError, match="3 chest X-rays lie outside what may be read"):
        prepare._assert_in_window(links, np.array([48.0, 48.0, 48.0, 48.0, 46.0]))


# ---------------------------------------------------------------- pictures


def test_shorter_side_is_resized_and_the_centre_kept():
    tall = np.zeros((300, 100), dtype=np.uint8)
    tall[100:200] = 200  # the middle third
    buffer = io.BytesIO()
    Image.fromarray(tall).save(buffer, format="JPEG", quality=95)
    decoded = decode(buffer.getvalue(), 50)
    assert decoded.shape == (50, 50)
    assert decoded[3:-3].min() > 190


def test_large_jpeg_is_decoded_small_and_colour_becomes_grey():
    buffer = io.BytesIO()
    Image.new("RGB", (2500, 3000), (120, 120, 120)).save(buffer, format="JPEG")
    assert decode(buffer.getvalue(), 64).tolist() == [[120] * 64] * 64


def test_damaged_empty_and_missing_pictures_are_unavailable_and_named_in_the_cache(tmp_path):
    tree = small_tree()
    names = sorted(tree.files)
    tree.files[names[0]] = picture()[:300]
    tree.files[names[1]] = b""
    tree.files[names[2]] = b"not a picture"
    del tree.files[names[3]]
    dataset = prepare_tree(tmp_path, tree, chest=True)
    assert available(dataset, "cxr") == [False] * 4 + [True] * 4
    assert available(dataset, "report") == [True] * PATIENTS
    assert not np.asarray(dataset.modalities["cxr"].values[:4]).any()
    (warning,) = [warning for warning in dataset.warnings if "damaged" in warning]
    assert warning.startswith("1 linked chest X-rays are missing and 3 are damaged")
    assert "p1000" not in warning
    (listed,) = (tmp_path / "cache").glob("images-*/unreadable.csv")
    assert len(listed.read_text(encoding="utf-8").splitlines()) == 5


def test_replaced_picture_is_decoded_again(tmp_path):
    tree = small_tree()
    name = min(tree.files)
    before = prepare_tree(tmp_path, tree, chest=True)
    tree.files[name] = picture(grey=10, width=120)
    after = prepare_tree(tmp_path, tree, chest=True)
    assert before.modalities["cxr"].values[0, 0, 0] == 25
    assert after.modalities["cxr"].values[0, 0, 0] == 10


def test_archive_and_folder_give_the_same(tmp_path):
    folder = prepare_tree(tmp_path / "folder", chest=True)
    tree = small_tree()
    pictures, tree.files = tree.files, {}
    root, cxr = tree.write(tmp_path / "archive")
    with zipfile.ZipFile(cxr / "images.zip", "w") as archive:
        for name, content in pictures.items():
            archive.writestr(name, content)
    (cxr / "mimic-cxr-reports").mkdir()
    with zipfile.ZipFile(cxr / "mimic-cxr-reports.zip") as archive:
        archive.extractall(cxr / "mimic-cxr-reports")
    (cxr / "mimic-cxr-reports.zip").unlink()
    archived = MimicIhm(str(root), str(cxr)).prepare(tmp_path / "cache", SilentProgress())
    assert archived.digest == folder.digest


# ---------------------------------------------------------------- reports
