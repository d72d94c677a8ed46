"""DAFT: the transform against plain loops over rows, and what happens to rows that lack something."""

from __future__ import annotations

import math

import pytest
import torch

from fusionbench import FusionSpec, TargetKind
from fusionbench.testing import make_case
from fusionbench_plugins.strategies.daft import Daft

CASE = make_case(3, TargetKind.MULTICLASS, "random")


def daft(case=CASE, **options):
    torch.manual_seed(0)
    return Daft(case.spec, **options).double()


def by_hand(strategy, batch, name, row):
    """One row of one modality's transformed embedding, with plain numbers."""
    shown = [n for n in batch.names if batch.present[n][row]]
    if name not in shown:
        return [0.0] * 8
    own = batch.features[name][row].tolist()
    others = [batch.features[n][row].tolist() for n in shown if n != name]
    if not others:
        return own
    context = [sum(column) for column in zip(*others, strict=True)]
    if strategy.condition == "mean":
        context = [value / len(others) for value in context]
    transform = strategy.transforms[name]
    code = [max(0.0, dot(weights, own + context)) for weights in transform.squeeze.weight.tolist()]
    affine = [dot(weights, code) for weights in transform.excite.weight.tolist()]
    squash = {"none": float, "tanh": math.tanh, "sigmoid": lambda v: 1 / (1 + math.exp(-v))}[transform.activation]
    extra = 1 if strategy.residual else 0
    return [(squash(affine[c]) + extra) * own[c] + affine[8 + c] for c in range(8)]


def dot(left, right):
    return sum(a * b for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize(
    "options", [{}, {"activation": "tanh", "condition": "mean"}, {"activation": "sigmoid", "residual": False}]
)
def test_every_modality_is_transformed_by_the_others_that_are_shown(options):
    strategy = daft(**options)
    for name in CASE.spec.names:
        wanted = [by_hand(strategy, CASE.batch, name, row) for row in range(len(CASE.target))]
        torch.testing.assert_close(strategy.transformed(CASE.batch, name), torch.tensor(wanted, dtype=torch.float64))


def test_the_head_reads_the_transformed_embeddings_side_by_side():
    strategy = daft()
    joined = torch.cat([strategy.transformed(CASE.batch, n) for n in CASE.spec.names], dim=1)
    assert torch.equal(strategy(CASE.batch), strategy.head(joined))


def test_rows_with_one_modality_are_classified_from_its_embedding_as_it_is():
    case = make_case(3, TargetKind.BINARY, "single")
    strategy = daft(case)
    joined = torch.cat([case.batch.observed(n) for n in case.spec.names], dim=1)
    assert torch.equal(strategy(case.batch), strategy.head(joined))


def test_one_modality_needs_no_transform():
    case = make_case(1, TargetKind.BINARY, "complete")
    strategy = daft(case)
    assert not list(strategy.transforms.parameters())
    assert torch.equal(strategy(case.batch), strategy.head(case.batch.features["ehr"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bottleneck": 0}, "bottleneck must be 1 or more, found 0"),
        ({"activation": "relu"}, "activation must be 'none', 'sigmoid' or 'tanh', found 'relu'"),
        ({"condition": "max"}, "condition must be 'sum' or 'mean', found 'max'"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        daft(**options)


def test_modalities_of_different_width_are_refused():
    with pytest.raises(ValueError, match=r"set model\.width"):
        Daft(FusionSpec({"a": 3, "b": 4}, 1, TargetKind.BINARY))
