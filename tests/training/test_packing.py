"""Tensors of many models in one buffer: every one begins at a cache line, and neighbours are reached at once."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fusionbench.training.packing import CACHE_LINE, Packed, packed

SHAPES = {"weight": (3, 5), "bias": (3,), "scale": ()}


def stack(dtype=torch.float32, models=3):
    return {
        n: torch.arange(models * max(1, torch.Size(s).numel()), dtype=dtype).reshape(models, *s)
        for n, s in SHAPES.items()
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_every_tensor_of_every_model_begins_at_a_cache_line(dtype):
    views = Packed(stack(dtype)).views
    for name, shape in SHAPES.items():
        assert views[name].shape == (3, *shape)
        for model in range(3):
            assert views[name][model].data_ptr() % CACHE_LINE == 0
            assert views[name][model].is_contiguous()


def test_between_the_tensors_are_zeros_and_the_tensors_do_not_overlap():
    pack = Packed(stack())
    for number, view in enumerate(pack.views.values(), 1):
        view.fill_(number)
    for number, (name, view) in enumerate(pack.views.items(), 1):
        assert (view == number).all(), name
    numbers = sum(v.numel() for v in pack.views.values())
    assert int((pack.buffer != 0).sum()) == numbers


def test_neighbours_are_one_span_and_all_of_them_are_one_piece():
    pack = Packed(stack())
    line = CACHE_LINE // 4
    assert pack.spans(SHAPES) == [(0, 3 * line)]
    assert pack.spans(["weight", "scale"]) == [(0, line), (2 * line, 3 * line)]
    assert pack.spans([]) == []
    (piece,) = pack.pieces(range(1, 3), pack.spans(SHAPES))
    assert piece.shape == (2 * 3 * line,)
    assert piece.data_ptr() == pack.views["weight"][1].data_ptr()
    parts = pack.pieces(range(2), [(0, line), (2 * line, 3 * line)])
    assert [p.data_ptr() for p in parts] == [pack.views[n][m].data_ptr() for m in range(2) for n in ("weight", "scale")]


def test_parameters_are_copied_and_want_gradients_as_they_did():
    given = {
        "a": torch.ones(2, 3, requires_grad=True),
        "still": torch.ones(2, 2),
        "b": torch.full((2, 4), 2.0, requires_grad=True),
        "wide": torch.full((2, 1), 3.0, dtype=torch.float64, requires_grad=True),
    }
    buffers, found = packed(given)
    assert list(found) == list(given)
    for name, tensor in found.items():
        assert torch.equal(tensor, given[name])
        assert tensor.requires_grad == given[name].requires_grad
        assert tensor.is_leaf
    assert sorted(sorted(b.views) for b in buffers) == [["a", "b"], ["still"], ["wide"]]
    with torch.no_grad():
        found["a"].add_(1)
    own = next(b for b in buffers if "a" in b.views)
    assert torch.equal(own.views["a"], torch.full((2, 3), 2.0))


def test_a_model_without_parameters_has_no_buffers():
    assert packed({}) == ([], {})
    assert len(packed(dict(nn.Linear(2, 2).named_parameters()))[0]) == 1
