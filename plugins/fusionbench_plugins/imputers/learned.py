"""Learned filling: an absent modality becomes a vector that is trained with the rest.

Paper: none of its own; the "learnable" missing token of the MedFuse repository (Hayat, Geras, Shamout
2022, MLHC), initialised uniformly in [0, 1). There for one modality, here for each.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from fusionbench import Batch, FusionSpec, Imputer, Provenance, hookimpl
from fusionbench.hookspecs import Register


class Learned(Imputer):
    """Fills absent rows with one trainable vector for each modality.

    The vector of a modality that no training row lacks is never trained: hide some on purpose
    (``corruption`` in the benchmark file) where test rows may lack it.

    Args:
        spec: Widths, outputs and target kind.

    Shapes:
        ``tokens[<modality>]``: float ``[dim]``.
    """

    provenance: ClassVar[Provenance | None] = Provenance(
        paper="Hayat, Geras, Shamout 2022, MedFuse, MLHC, PMLR 182:479-503 (repository only)",
        equations="none in the paper; u_m = t_m, trained, where m is absent",
        link="https://proceedings.mlr.press/v182/hayat22a.html",
        code="https://github.com/nyuad-cai/MedFuse (MIT; read, not copied)",
        differs="one vector for every modality, after its projection, instead of the image alone",
    )

    def __init__(self, spec: FusionSpec) -> None:
        super().__init__(spec)
        self.tokens = nn.ParameterDict({name: nn.Parameter(torch.rand(dim)) for name, dim in spec.dims.items()})

    def forward(self, batch: Batch) -> Batch:
        """Return the batch with every absent row filled."""
        return batch.filled({name: self.tokens[name] for name in batch.names})


@hookimpl
def register_imputers(register: Register) -> None:
    """Register ``learned``."""
    register("learned", Learned)
