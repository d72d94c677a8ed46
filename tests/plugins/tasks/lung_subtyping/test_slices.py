"""Slices of a scan to one picture per row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fusionbench.errors import DataError
from fusionbench_plugins.tasks.lung_subtyping.slices import chosen
from tests.plugins.tasks.lung_subtyping.folder import ROWS, prepare, problems, write
from tests.plugins.tasks.test_pictures import DEEP, SEE_THROUGH


def test_pictures_are_a_memory_map_of_bytes_that_is_made_once(tmp_path):
    pixels = prepare(write(tmp_path), image_size=16).modalities["pet"].values
    assert isinstance(pixels, np.memmap)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (ROWS, 16, 16)
    assert (pixels[0] == 0).all()
    assert (pixels[1] == 80).all()
    made = {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("*.npy")}
    prepare(tmp_path, image_size=16)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("*.npy")} == made


def test_of_several_slices_the_middle_or_the_mean_is_taken(tmp_path):
    write(tmp_path)
    middle = prepare(tmp_path, image_size=8).modalities["ct"].values
    assert (middle[1] == 62).all()  # slices 1, 2, 10 in order of their numbers
    mean = prepare(tmp_path, image_size=8, slices="mean").modalities["ct"].values
    assert (mean[1] == 64).all()  # 61, 62 and 70: 64.33


def test_slices_that_cannot_be_read_are_counted_with_their_rows(tmp_path):
    write(tmp_path)
    (tmp_path / "pet" / "examination-1.png").write_bytes(b"")
    (tmp_path / "pet" / "examination-2.png").write_bytes(b"no picture")
    Image.fromarray(np.full((8, 8), 900, np.uint16)).save(tmp_path / "pet" / "examination-3.png")
    said = problems(tmp_path, image_size=8)
    assert "modality pet: empty: manifest row 2" in said
    assert "modality pet: not a readable picture: manifest row 3" in said
    assert "modality pet: more than 8 bits: choose a window of grey values and save 8 bits: manifest row 4" in said
    assert not list((tmp_path / "cache").glob("*.partial"))


@pytest.mark.parametrize(
    ("count", "rule", "wanted"),
    [
        (0, "middle", ""),
        (1, "middle", "a"),
        (3, "middle", "b"),
        (4, "middle", "b"),
        (4, "mean", "abcd"),
        (0, "mean", ""),
    ],
)
def test_of_an_even_number_the_one_before_the_middle_is_read(count, rule, wanted):
    files = [Path(name) for name in "abcd"[:count]]
    assert chosen(files, rule) == tuple(Path(name) for name in wanted)


@pytest.mark.parametrize("name", ["colour PNG", "grey PNG with opacity", "colour TIFF"])
def test_slices_of_more_than_eight_bits_are_refused_whatever_their_format(tmp_path, name):
    folder = write(tmp_path)
    (folder / "examination-0" / "slice2.png").write_bytes(DEEP[name])
    with pytest.raises(DataError, match="modality ct: more than 8 bits"):
        prepare(folder)


def test_slices_with_transparent_parts_are_refused(tmp_path):
    folder = write(tmp_path)
    (folder / "examination-0" / "slice2.png").write_bytes(SEE_THROUGH["grey with opacity"])
    with pytest.raises(DataError, match="modality ct: transparent parts"):
        prepare(folder)


def test_pictures_of_one_even_grey_are_counted_by_modality(tmp_path):
    folder = write(tmp_path)
    picture = np.zeros((32, 40), dtype=np.uint8)
    picture[8:] = 90
    for name in sorted((folder / "pet").iterdir())[3:]:
        Image.fromarray(picture).save(name)
    said = [w for w in prepare(folder).warnings if "even grey" in w]
    assert said == [
        f"modality {name}: {count} pictures are one even grey: nothing can be seen in them"
        for name, count in (("ct", "36 of 36"), ("pet", "1 of 28"))
    ]
