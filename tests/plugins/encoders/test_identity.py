"""Identity: a vector is its own embedding."""

from __future__ import annotations

import pytest
import torch

from fusionbench import InputSpec
from fusionbench_plugins.encoders.identity import Identity


def test_a_vector_is_returned_as_it_is_and_gradients_pass():
    inputs = torch.randn(3, 5, requires_grad=True)
    encoder = Identity(InputSpec("vector", (5,)))
    encoded = encoder(inputs)
    assert encoder.output_dim == 5
    assert torch.equal(encoded, inputs)
    encoded.sum().backward()
    assert torch.equal(inputs.grad, torch.ones(3, 5))


def test_it_has_nothing_to_train_and_is_still_no_frozen_encoder():
    encoder = Identity(InputSpec("vector", (5,)))
    assert list(encoder.parameters()) == []
    assert not encoder.frozen  # frozen ones are computed once, and then no column is standardised
    assert encoder.accepts == {"vector"}


def test_a_series_has_no_single_width():
    with pytest.raises(ValueError, match="too many values"):
        Identity(InputSpec("series", (6, 3)))
