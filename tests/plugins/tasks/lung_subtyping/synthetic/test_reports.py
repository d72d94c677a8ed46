"""Made-up reports: as long as OmniFuse's, in Chinese, and what they say follows what they show."""

from __future__ import annotations

import re

import numpy as np

from fusionbench_plugins.tasks.lung_subtyping.synthetic.reports import LONGEST, SHORTEST, report_of


def reports(shown, seed=0):
    return [report_of(value, np.random.default_rng([seed, i])) for i, value in enumerate(shown)]


def test_lengths_are_those_of_the_paper():
    lengths = [len(text) for text in reports(np.zeros(200))]
    assert (SHORTEST, LONGEST) == (996, 1748)
    assert SHORTEST <= min(lengths) < 1150
    assert 1550 < max(lengths) <= LONGEST


def test_the_size_of_the_nodule_follows_what_is_shown():
    shown = np.repeat([-1.5, 0.0, 1.5], 40)
    sizes = np.array([int(re.search(r"大小约(\d+)毫米", text)[1]) for text in reports(shown)])
    low, middle, high = (sizes[shown == value].mean() for value in (-1.5, 0.0, 1.5))
    assert low < middle - 4 < high - 8


def test_texts_are_chinese_on_one_line():
    (text,) = reports([0.3])
    assert "\n" not in text
    assert sum("\u4e00" <= letter <= "\u9fff" for letter in text) > 0.8 * len(text)
