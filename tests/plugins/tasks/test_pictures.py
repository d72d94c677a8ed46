"""One file to a small grey square."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from fusionbench_plugins.tasks._pictures import blank, decode


def test_a_stack_of_slices_in_one_file_is_refused():
    pages = [Image.new("L", (8, 8), grey) for grey in (10, 20)]
    buffer = io.BytesIO()
    pages[0].save(buffer, format="TIFF", save_all=True, append_images=pages[1:])
    with pytest.raises(ValueError, match="several pictures in one file"):
        decode(buffer.getvalue(), 8)


def encoded(picture, kind="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
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


# ---------------------------------------------------------------- what was drawn is what is read

TOP = np.zeros((8, 8), np.uint8)
TOP[:4] = 200


def raw_png(colour, values):
    """A PNG of 16 bits for each colour, which Pillow itself does not write."""

    def chunk(tag, content):
        return struct.pack(">I", len(content)) + tag + content + struct.pack(">I", zlib.crc32(tag + content))

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def raw_tiff(bits, samples, photometric, values):
    entries = [(256, 8), (257, 8), (258, bits), (259, 1), (262, photometric), (273, 0), (277, samples), (278, 8)]
    table = 8 + 2 + 12 * (len(entries) + 1) + 4
    start = table + 2 * samples
    places = {258: bits if samples == 1 else table, 273: start}
    found = b"II*\0" + struct.pack("<IH", 8, len(entries) + 1)
    for tag, value in entries:
        kind, count = (3, samples) if tag == 258 else (4, 1)
        found += struct.pack("<HHII", tag, kind, count, places.get(tag, value))
    found += struct.pack("<HHII", 279, 4, 1, values.nbytes)
    return found + struct.pack("<I", 0) + struct.pack("<H", bits) * samples + values.tobytes()


DEEP = {
    "grey PNG": raw_png(0, np.full((8, 8, 1), 900)),
    "colour PNG": raw_png(2, np.full((8, 8, 3), 900)),
    "grey PNG with opacity": raw_png(4, np.full((8, 8, 2), 900)),
    "colour PNG with opacity": raw_png(6, np.full((8, 8, 4), 65535)),
    "colour TIFF": raw_tiff(16, 3, 2, np.full((8, 8, 3), 900, "<u2")),
    "grey TIFF, white is zero": raw_tiff(16, 1, 0, np.full((8, 8), 900, "<u2")),
    "colour PPM": b"P6\n# by hand\n8 8\n65535\n" + np.full((8, 8, 3), 900, ">u2").tobytes(),
    "PGM of 12 bits": b"P5\n8 8\n4095\n" + np.full((8, 8), 900, ">u2").tobytes(),
    "colour SGI": encoded(Image.fromarray(TOP).convert("RGB"), "SGI", bpc=2),
    "JPEG 2000": encoded(Image.fromarray(np.full((8, 8), 900, np.uint16)), "JPEG2000"),
    "JPEG of 12 bits": encoded(Image.fromarray(TOP), "JPEG").replace(b"\xff\xc0\x00\x0b\x08", b"\xff\xc1\x00\x0b\x0c"),
    "numbers with a fraction": encoded(Image.fromarray(np.full((8, 8), 0.5, np.float32)), "TIFF"),
}


@pytest.mark.parametrize("name", DEEP)
def test_the_file_says_how_many_bits_it_has_and_more_than_eight_are_refused(name):
    with pytest.raises(ValueError, match="more than 8 bits"):
        decode(DEEP[name], 4)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_picture_is_turned_as_its_file_says(kind):
    orientation = Image.Exif()
    orientation[0x112] = 6  # held on its side: a viewer turns it to the right
    found = decode(encoded(Image.fromarray(TOP).convert("RGB"), kind, exif=orientation), 4)
    assert (found[:, 3] > 150).all()
    assert (found[:, 0] < 50).all()


def test_a_damaged_note_about_the_camera_does_not_cost_the_picture():
    broken = encoded(Image.fromarray(TOP), "JPEG", exif=b"Exif\0\0no tables of tags")
    assert decode(broken, 4)[0, 0] > 150


SEE_THROUGH = {
    "grey with opacity": encoded(Image.merge("LA", [Image.fromarray(TOP), Image.new("L", (8, 8), 5)])),
    "one pixel of colours": encoded(
        Image.fromarray(np.dstack([TOP, TOP, TOP, np.where(np.arange(64).reshape(8, 8), 255, 0).astype(np.uint8)]))
    ),
    "a colour of a palette": encoded(Image.fromarray(TOP).convert("P"), transparency=0),
    "a GIF's ground": encoded(Image.fromarray(TOP).convert("P"), "GIF", transparency=0),
    "a grey that stands for nothing": encoded(Image.fromarray(TOP), transparency=0),
}


@pytest.mark.parametrize("name", SEE_THROUGH)
def test_transparent_parts_have_no_grey_and_are_refused(name):
    with pytest.raises(ValueError, match="transparent parts: lay it on a ground"):
        decode(SEE_THROUGH[name], 4)


READ_RIGHT = {
    "all opaque": encoded(Image.merge("LA", [Image.fromarray(TOP), Image.new("L", (8, 8), 255)])),
    "palette": encoded(Image.fromarray(TOP).convert("P")),
    "four inks": encoded(Image.fromarray(TOP).convert("CMYK"), "JPEG"),
    "four inks, TIFF": encoded(Image.fromarray(TOP).convert("CMYK"), "TIFF"),
    "white is zero": raw_tiff(8, 1, 0, 255 - TOP),
    "white is zero, packed": encoded(Image.fromarray(TOP), "TIFF", tiffinfo={262: 0}, compression="tiff_lzw"),
    "a bit for each pixel": encoded(Image.fromarray(TOP > 0), "TIFF", tiffinfo={262: 0}),
    "BMP": encoded(Image.fromarray(TOP).convert("RGB"), "BMP"),
}


@pytest.mark.parametrize("name", READ_RIGHT)
def test_other_ways_to_keep_a_grey_picture_are_read_right(name):
    found = decode(READ_RIGHT[name], 4)
    assert (found[0] > 150).all()
    assert (found[3] < 50).all()


def test_a_pointer_is_named_and_an_even_picture_is_blank():
    with pytest.raises(ValueError, match="Git-LFS pointer"):
        decode(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", 4)
    with pytest.raises(ValueError, match="DICOM, which is not read"):
        decode(b"\0" * 128 + b"DICM" + b"\0" * 50, 4)
    assert blank(np.full((4, 4), 7, np.uint8))
    assert not blank(TOP)
