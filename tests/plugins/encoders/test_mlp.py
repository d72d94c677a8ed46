"""The encoder ``mlp``."""

from __future__ import annotations

import torch

from fusionbench_plugins.encoders.mlp import Mlp
from tests.plugins.encoders.small import VECTOR


def test_mlp_without_hidden_layers_is_linear():
    encoder = Mlp(VECTOR, hidden=(), output_dim=3)
    x, y = torch.randn(2, 5), torch.randn(2, 5)
    torch.testing.assert_close(encoder(x) + encoder(y), encoder(x + y) + encoder(torch.zeros(1, 5)))
