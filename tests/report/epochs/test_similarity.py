"""Similarity and score side by side, epoch by epoch."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from fusionbench.contract.blocks import Picture, Text
from fusionbench.report.epochs.similarity import WORDS, similarity_blocks

ARM = ("concat", "mean")


def test_one_picture_for_each_line_that_has_both(summary):
    last = int(summary.scores["epoch"].max())
    course = pd.Series([1.2, 0.5], index=[1, last])
    found = list(similarity_blocks(summary, {(ARM, "a"): course, (("nobody", "zero"), "a"): course}, [ARM], ["a", "b"]))
    assert [type(b) for b in found] == [Text, Picture]
    assert found[0].words == WORDS
    assert "a from -0.20 to 0.50" in found[1].alt
    assert "Concat / mean" in found[1].alt
    assert found[1].svg.count('-of0"') == 1
    assert found[1].svg.count('-score"') == 1


def test_without_scores_or_errors_there_is_none(summary):
    course = pd.Series([1.2, 0.5], index=[1, 2])
    assert list(similarity_blocks(summary, {}, [ARM], ["a"])) == []
    empty = replace(summary, scores=summary.scores.iloc[:0])
    assert list(similarity_blocks(empty, {(ARM, "a"): course}, [ARM], ["a"])) == []
