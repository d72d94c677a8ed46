"""The encoder ``hashed_words``."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from fusionbench_plugins.encoders.hashed_words import HashedWords, words
from tests.plugins.encoders.small import TEXT


def test_hashed_words_count_sublinearly_whatever_the_case_and_the_order():
    encoder = HashedWords(TEXT, width=512)
    rows, lengths = encoder.prepare(["Edema edema edema lungs", "lungs EDEMA, edema (edema)", "edema", ""])
    assert lengths is None
    assert rows.dtype == np.float32
    assert np.array_equal(rows[0], rows[1])
    assert not rows[3].any()
    column = np.flatnonzero(rows[2][:-1])
    assert abs(rows[0][column]) == pytest.approx(1 + np.log(3))
    assert rows[0][-1] == pytest.approx(np.log(5))


def test_hashed_words_are_the_same_in_another_process():
    code = (
        "from fusionbench import InputSpec; from fusionbench_plugins.encoders.hashed_words import HashedWords;"
        "print(HashedWords(InputSpec('text'), width=8).prepare(['large right effusion'])[0].tolist())"
    )
    salted = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=salt(7))
    rows = HashedWords(TEXT, width=8).prepare(["large right effusion"])[0]
    assert salted.stdout.strip() == str(rows.tolist())


def salt(seed):
    import os

    return {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def test_words_are_runs_of_letters_and_digits():
    assert words("No acute-findings; 2.5cm?") == ["no", "acute", "findings", "2", "5cm"]
