"""A batch in which each modality is absent somewhere, and the simple imputers built for it."""

from __future__ import annotations

import torch

from fusionbench import Batch, FusionOutput, FusionSpec, TargetKind
from fusionbench_plugins.imputers.mean import Mean

SPEC = FusionSpec({"ehr": 3, "cxr": 2}, num_outputs=1, kind=TargetKind.BINARY)


NO_PREDICTION = FusionOutput(torch.zeros(4, 1))


def make_batch(seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return Batch(
        features={n: torch.randn(4, d, generator=generator, requires_grad=True) for n, d in SPEC.dims.items()},
        present={"ehr": torch.tensor([True, True, False, True]), "cxr": torch.tensor([False, True, True, False])},
        zero_input={n: torch.full((d,), 0.5, requires_grad=True) for n, d in SPEC.dims.items()},
    )


def build(imputer_class):
    imputer = imputer_class(SPEC)
    if imputer_class is Mean:
        for name, dim in SPEC.dims.items():
            getattr(imputer, f"mean_{name}").copy_(torch.arange(1.0, dim + 1))
    return imputer
