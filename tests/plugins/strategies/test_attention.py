"""Attention against the built-in encoder layer, row by row on the tokens a row has."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from fusionbench import TargetKind
from fusionbench.testing import make_case
from fusionbench_plugins.strategies.attention import Attention

CASE = make_case(3, TargetKind.MULTICLASS, "random")


def built_in(layer):
    """The same layer from torch's own parts."""
    other = nn.TransformerEncoderLayer(8, 4, 16, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
    pairs = {
        "self_attn.in_proj_weight": layer.queries_keys_values.weight,
        "self_attn.in_proj_bias": layer.queries_keys_values.bias,
        "self_attn.out_proj.weight": layer.attention_out.weight,
        "self_attn.out_proj.bias": layer.attention_out.bias,
        "norm1.weight": layer.attention_norm.weight,
        "norm1.bias": layer.attention_norm.bias,
        "norm2.weight": layer.mlp[0].weight,
        "norm2.bias": layer.mlp[0].bias,
        "linear1.weight": layer.mlp[1].weight,
        "linear1.bias": layer.mlp[1].bias,
        "linear2.weight": layer.mlp[3].weight,
        "linear2.bias": layer.mlp[3].bias,
    }
    other.load_state_dict(pairs)
    return other.double()


@pytest.mark.parametrize("layers", [1, 2])
def test_masking_a_token_equals_leaving_it_out(layers):
    strategy = Attention(CASE.spec, layers=layers).double()
    references = [built_in(layer) for layer in strategy.layers]
    found = strategy(CASE.batch)
    for row in range(len(CASE.target)):
        shown = [name for name in CASE.spec.names if CASE.batch.present[name][row]]
        tokens = [strategy.class_token] + [CASE.batch.features[n][row] + strategy.embedding[n] for n in shown]
        sequence = torch.stack(tokens)[None]
        for reference in references:
            sequence = reference(sequence)
        assert_close(found[row], strategy.head(sequence[0, 0]))


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="heads must divide the common width 8, found 3"):
        Attention(CASE.spec, heads=3)
