"""Made-up slices: what is shown is visible, everything else is chance."""

from __future__ import annotations

import numpy as np
import pytest

from fusionbench_plugins.tasks.lung_subtyping.synthetic.pictures import draw_ct, draw_pet, in_parts


@pytest.mark.parametrize("draw", [draw_ct, draw_pet])
def test_the_middle_is_brighter_the_more_is_shown(draw):
    shown = np.linspace(-2, 2, 60)
    pictures = draw(shown, 48, np.random.default_rng(0))
    assert (pictures.shape, pictures.dtype) == ((60, 48, 48), np.uint8)
    middle = pictures[:, 18:30, 18:30].mean(axis=(1, 2))
    assert np.corrcoef(shown, middle)[0, 1] > 0.95
    assert pictures.std() > 5


def test_parts_cover_every_row_once():
    assert [row for part in in_parts(600) for row in range(part.start, part.stop)] == list(range(600))
    assert max(part.stop - part.start for part in in_parts(600)) <= 256
