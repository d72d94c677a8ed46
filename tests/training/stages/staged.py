"""Strategies in stages that a test decides."""

from __future__ import annotations

import torch
from torch import nn

from fusionbench.contract.learners import FusionStrategy
from fusionbench.contract.stages import Stage
from fusionbench.training.loop import train
from fusionbench.training.prediction import assemble
from fusionbench_plugins.strategies.concat import Concat
from tests.builders import make_member, make_model, make_rows, member_state, settings


class Staged(Concat):
    """Concat in stages that a test decides."""

    def __init__(self, spec, plan=()):
        super().__init__(spec)
        self.plan = plan
        self.register_buffer("mark", torch.zeros(2))

    def stages(self):
        return self.plan


def member(plan, train_rows=60, **changes):
    return make_member(lambda: make_model(Staged, plan=plan), make_rows(), train=train_rows, **changes)


def states(plan, **changes):
    """Initial and final state of one member."""
    given = member(plan, **changes)
    population, (fit,) = train([given], settings(), "auroc")
    return assemble([given]).state_of(0), member_state(population, 0), fit


def moved(before, after):
    return {n for n, t in after.items() if not torch.equal(before[n], t)}


class Heads(FusionStrategy):
    """A head for each modality, in one stage that selects by them."""

    def __init__(self, spec):
        super().__init__(spec)
        self.heads = nn.ModuleDict({n: nn.Linear(d, 1) for n, d in spec.dims.items()})

    def forward(self, batch):
        return sum(head(batch.completed(n)) for n, head in self.heads.items())

    def modality_logits(self, output, batch):
        return {n: head(batch.completed(n)) for n, head in self.heads.items()}

    def stages(self):
        return (Stage("encoders", select="per_modality"),)
