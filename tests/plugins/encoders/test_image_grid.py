"""The encoder ``image_grid``."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fusionbench import InputSpec
from fusionbench_plugins.encoders.image_grid import ImageGrid
from tests.plugins.encoders.small import IMAGE


def test_image_grid_is_the_mean_of_each_cell_and_the_contrast():
    picture = torch.zeros(1, 8, 8, dtype=torch.uint8)
    picture[:, :4, 4:] = 255
    output = ImageGrid(InputSpec("image", (8, 8)), grid=2)(picture)[0]
    contrast, step = np.sqrt(0.25 * 0.75), 4 / (7 * 8)
    assert output.tolist() == pytest.approx([0, 1, 0, 0, contrast, step, step])


def test_image_grid_refuses_a_grid_finer_than_the_picture():
    with pytest.raises(ValueError, match="20 pixels"):
        ImageGrid(IMAGE, grid=21)
