"""What a method costs, as it is counted in a training on drawn rows."""

from __future__ import annotations

import pytest
import torch

from fusionbench import FusionSpec, FusionStrategy
from fusionbench.testing.cost import (
    SPEC,
    Concatenation,
    build_part,
    kept_for_backward,
    measure,
    needs_common_width,
    reference,
    reference_memory,
)
from tests.builders import plugin


def test_the_reference_costs_what_the_concat_strategy_costs():
    assert measure(Concatenation) == measure(plugin("strategies", "concat"))
    assert measure(Concatenation).parameters == sum(SPEC.dims.values()) + 1


@pytest.mark.parametrize(
    ("kind", "name", "options", "expected"),
    [
        ("strategies", "concat", {}, (1, 0, 0, 1)),
        ("strategies", "pmr", {}, (1, 1, 0, 1)),
        ("strategies", "ogm_ge", {"score_source": "only_m"}, (1 + 3, 0, 0, 1)),
        # four probes of 4 epochs; losses before and after each, on training and held-out rows
        ("strategies", "g_blend", {}, (1, 0, 16, 1 + 4 * 0.4)),
        ("strategies", "g_blend", {"mode": "fixed", "weights": [1, 1, 1, 1]}, (1, 0, 0, 1)),
        ("strategies", "g_blend", {"mode": "online", "super_epochs": 5}, (1, 0, 80, 1 + 4)),
        ("imputers", "mean", {}, (1, 1, 0, 1)),
        ("imputers", "zero", {}, (1, 0, 0, 1)),
        ("regularisers", "tla", {}, (1, 1 + 7, 0, 1)),
        ("regularisers", "tla", {"max_absent": 1}, (1, 1 + 4, 0, 1)),
    ],
)
def test_passes_are_counted(kind, name, options, expected):
    cost = measure(plugin(kind, name), **options)
    assert (cost.per_step, cost.per_epoch, cost.elsewhere, pytest.approx(cost.epochs)) == expected


def test_a_strategy_inside_a_strategy_counts_by_the_part_that_runs_most_often():
    class AsksTwice(FusionStrategy):
        """The mean of two looks of one part."""

        def __init__(self, spec: FusionSpec) -> None:
            super().__init__(spec)
            self.inner = Concatenation(spec)

        def forward(self, batch):
            return (self.inner(batch) + self.inner(batch)) / 2

    cost = measure(AsksTwice)
    assert (cost.per_step, cost.parameters) == (2, reference().parameters)


@pytest.mark.parametrize(("name", "needed"), [("late_average", False), ("concat", False), ("attention", True)])
def test_whoever_refuses_differing_widths_needs_a_common_one(name, needed):
    target = plugin("strategies", name)
    assert needs_common_width(target) is needed


def test_a_required_modality_is_the_first():
    assert build_part(plugin("strategies", "unimodal")).reads == ("a",)


def test_what_a_row_keeps_for_its_backward_pass_grows_with_what_is_computed():
    class Squares(Concatenation):
        """A nonlinear layer before the reference: its inputs have to be kept too."""

        def forward(self, batch):
            joined = torch.cat([batch.completed(n) for n in self.spec.names], dim=-1)
            return self.head(joined.square().exp())

    wide = sum(SPEC.dims.values()) * 4  # bytes of one row's embeddings
    assert kept_for_backward() == reference_memory() >= wide
    assert kept_for_backward(Squares) >= reference_memory() + wide
