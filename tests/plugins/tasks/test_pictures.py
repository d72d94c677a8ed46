"""One file to a small grey square."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from fusionbench_plugins.tasks._pictures import decode


def test_a_stack_of_slices_in_one_file_is_refused():
    pages = [Image.new("L", (8, 8), grey) for grey in (10, 20)]
    buffer = io.BytesIO()
    pages[0].save(buffer, format="TIFF", save_all=True, append_images=pages[1:])
    with pytest.raises(ValueError, match="several pictures in one file"):
        decode(buffer.getvalue(), 8)


def encoded(picture, kind="PNG"):
    buffer = io.BytesIO()
    picture.save(buffer, format=kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF"])
def test_a_grey_picture_stays_grey_whatever_its_format(kind):
    found = decode(encoded(Image.new("L", (40, 32), 90), kind), 8)
    assert (found.shape, found.dtype) == ((8, 8), np.uint8)
    assert np.abs(found.astype(int) - 90).max() <= 1


def test_the_shorter_side_decides_and_the_centre_is_kept():
    wide = np.zeros((16, 48), np.uint8)
    wide[:, 16:32] = 200  # the middle third is a square
    assert (decode(encoded(Image.fromarray(wide)), 4)[:, 1:3] > 150).all()
    outer = np.full((16, 48), 200, np.uint8)
    outer[:, 8:40] = 0
    assert not decode(encoded(Image.fromarray(outer)), 4)[:, 1:3].any()


def test_colours_become_their_brightness():
    found = [
        decode(encoded(Image.new("RGB", (8, 8), colour)), 4)[0, 0] for colour in ("black", "blue", "lime", "white")
    ]
    assert found == sorted(found)
    assert (found[0], found[-1]) == (0, 255)


@pytest.mark.parametrize(("content", "said"), [(b"", "empty"), (b"secret of a patient", "not a readable picture")])
def test_what_is_no_picture_is_refused_and_nothing_of_it_is_said(content, said):
    with pytest.raises(ValueError, match=f"^{said}$"):
        decode(content, 8)


def test_half_a_picture_is_refused():
    whole = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)))
    with pytest.raises(ValueError, match="not a readable picture"):
        decode(whole[: len(whole) // 2], 8)


def test_more_than_eight_bits_would_all_be_white_and_are_refused():
    with pytest.raises(ValueError, match="more than 8 bits: choose a window of grey values"):
        decode(encoded(Image.fromarray(np.full((8, 8), 900, np.uint16))), 8)
