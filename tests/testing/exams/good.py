"""A strategy that is right, the small batches it is examined on, and how a wrong one is found out."""

from __future__ import annotations

import torch
from torch import nn

from fusionbench import FusionStrategy, Provenance, TargetKind
from fusionbench.testing import make_case, run_checks

SMALL = [make_case(m, kind, "random") for m, kind in [(1, TargetKind.BINARY), (3, TargetKind.MULTICLASS)]]
SMALL += [make_case(2, TargetKind.MULTILABEL, "single"), make_case(3, TargetKind.BINARY, "random")]


class Good(FusionStrategy):
    """The strategy that the wrong ones below are made from: one head on the concatenation."""

    uses_presence = True
    provenance = Provenance(paper="none: written for this test")

    def __init__(self, spec, width=0):
        super().__init__(spec)
        self.head = nn.Linear(sum(spec.dims.values()), spec.num_outputs)

    def joined(self, batch):
        return torch.cat([batch.completed(name) for name in self.spec.names], dim=-1)

    def forward(self, batch):
        return self.head(self.joined(batch))


def failures(plugin, **settings):
    return {r.name: r.reason for r in run_checks(plugin, cases=SMALL, **settings) if not r.ok}


def status(plugin, name):
    """What one check says."""
    (result,) = run_checks(plugin, cases=SMALL, only=[name])
    return result.status


def expect_found_out(plugin, name):
    """The check itself says what is wrong."""
    found = failures(plugin, only=[name])
    assert name in found
    assert not found[name].startswith("raised"), "a crash proves nothing about the check"
