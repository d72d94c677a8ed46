"""The encoder ``series_summary``."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fusionbench import InputSpec
from fusionbench_plugins.encoders.series_summary import SeriesSummary
from tests.plugins.encoders.small import SERIES


def test_series_summary_equals_a_loop_over_valid_steps():
    encoder = SeriesSummary(SERIES, measurements=[0, 2])
    x, lengths = torch.randn(4, 6, 3) + 80, torch.tensor([6, 1, 3, 5])
    output = encoder(x, lengths).numpy()
    for row, length in enumerate(lengths.tolist()):
        steps = x[row, :length].double().numpy()
        measured = steps[:, [0, 2]]
        slope = np.polyfit(np.arange(length), measured, 1)[0] if length > 1 else np.zeros(2)
        expected = [steps.mean(0), measured.min(0), measured.max(0), measured[-1], slope]
        np.testing.assert_allclose(output[row], np.concatenate(expected), rtol=1e-5, atol=1e-4)


def test_series_summary_never_reads_padding():
    encoder, x, lengths = SeriesSummary(SERIES), torch.randn(2, 6, 3), torch.tensor([2, 6])
    spoiled = x.clone()
    spoiled[0, 2:] = torch.nan
    assert torch.equal(encoder(x, lengths), encoder(spoiled, lengths))


def test_series_summary_gives_the_share_of_measured_steps():
    mask = torch.tensor([[1.0], [0.0], [1.0], [0.0]])[None]
    encoder = SeriesSummary(InputSpec("series", (4, 1)), measurements=[])
    assert encoder.output_dim == 1
    assert encoder(mask, torch.tensor([3])).item() == pytest.approx(2 / 3)


def test_series_summary_refuses_channels_that_do_not_exist():
    with pytest.raises(ValueError, match=r"0 to 2, found \[3\]"):
        SeriesSummary(SERIES, measurements=[0, 3])
