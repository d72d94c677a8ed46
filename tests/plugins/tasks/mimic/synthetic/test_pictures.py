"""Grey levels of the pictures."""

from __future__ import annotations

import numpy as np

from fusionbench_plugins.tasks.mimic.synthetic.pictures import canvas_for, draw_pictures


def test_regional_grey_levels_give_the_latents_back():
    rng = np.random.default_rng(0)
    shown, heart = rng.standard_normal((300, 2)), rng.standard_normal(300)
    pictures = draw_pictures(shown, heart, canvas_for(96, upright=False), rng)
    assert pictures.shape == (300, 80, 96)
    assert pictures.dtype == np.uint8
    grid = pictures.reshape(300, 8, 10, 8, 12).mean(axis=(2, 4)).reshape(300, -1)
    design = np.column_stack([grid, np.ones(300)])
    fit, *_ = np.linalg.lstsq(design[:200], shown[:200], rcond=None)
    guess = design[200:] @ fit
    assert np.corrcoef(guess[:, 0], shown[200:, 0])[0, 1] > 0.97
    assert np.corrcoef(guess[:, 1], shown[200:, 1])[0, 1] > 0.95


def test_the_generator_decides():
    shown, heart = np.zeros((2, 2)), np.zeros(2)
    canvas = canvas_for(96, upright=False)
    one, same, other = (draw_pictures(shown, heart, canvas, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
