"""Inputs that are all alike, and encoders that make one embedding of different inputs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from fusionbench import Modality
from fusionbench.data.sameness import alike, alike_lines, check_embeddings, check_inputs, said_of
from fusionbench.errors import DataError, PluginError
from fusionbench.progress import SilentProgress

ALL = np.ones(600, dtype=bool)


def pictures(grey=0, last=None):
    values = np.full((600, 4, 4), grey, dtype=np.uint8)
    values[-1] = grey if last is None else last
    return Modality("image", values)


def test_pictures_that_are_all_black_or_equal_are_named():
    assert "modality cxr: all 600 pictures are black" in said_of("cxr", pictures(), ALL)
    assert "are equal" in said_of("cxr", pictures(90), ALL)
    assert said_of("cxr", pictures(90, last=91), ALL) == ""


def test_rows_that_do_not_have_the_modality_do_not_count():
    present = ALL.copy()
    present[-1] = False
    assert "all 599 pictures are black" in said_of("cxr", pictures(0, last=9), present)
    assert said_of("cxr", pictures(), np.arange(600) == 5) == ""  # one picture is like itself
    assert said_of("cxr", pictures(), np.zeros(600, dtype=bool)) == ""


def test_texts_and_series_that_are_all_equal_are_named_and_vectors_are_left_to_the_tables():
    texts = Modality("text", ("no change",) * 600)
    assert "all 600 texts are equal" in said_of("report", texts, ALL)
    assert "all 600 series are equal" in said_of("ehr", Modality("series", np.full((600, 3, 2), np.nan)), ALL)
    assert said_of("x", Modality("vector", np.zeros((600, 3))), ALL) == ""


class Notes(SilentProgress):
    def __init__(self):
        self.said = []

    def note(self, text):
        self.said.append(text)


def test_all_pictures_that_are_alike_are_one_error_and_texts_a_note():
    modalities = {"cxr": pictures(), "other": pictures(7), "report": Modality("text", ("no change",) * 600)}
    dataset = SimpleNamespace(modalities=modalities, available=np.ones((600, 3), dtype=bool))
    notes = Notes()
    with pytest.raises(DataError, match=r"cxr: .*\n.*other: ") as caught:
        check_inputs(dataset, notes)
    assert "report" not in str(caught.value)
    (note,) = notes.said
    assert note.startswith("warning: modality report: all 600 texts are equal")
    assert [line.partition(":")[0] for line in alike_lines(dataset)] == ["problem", "problem", "warning"]


def test_one_embedding_of_different_rows_is_refused():
    modality, same = pictures(0, last=9), np.ones((600, 5), dtype=np.float32)
    with pytest.raises(PluginError, match="encoder 'mine' made the same embedding of all 600 rows"):
        check_embeddings("cxr", "mine", modality, same, ALL)
    check_embeddings("cxr", "mine", pictures(), same, ALL)  # what is alike may look alike
    same[299] += 1e-7  # the rounding of another batch
    with pytest.raises(PluginError):
        check_embeddings("cxr", "mine", modality, same, ALL)
    same[300] = 2
    check_embeddings("cxr", "mine", modality, same, ALL)


def test_rows_are_compared_over_every_block_of_them():
    values = np.zeros((600, 2), dtype=np.float32)
    for row in (1, 255, 256, 257, 599):
        values[row] = 1
        assert not alike(values, np.arange(600))
        values[row] = 0
    assert alike(values, np.arange(600))
