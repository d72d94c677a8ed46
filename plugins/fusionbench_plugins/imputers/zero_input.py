"""Zero-input filling: an absent modality becomes the encoding of an all-zero input.

Papers: Zhao, Li, Jin 2021 (MMIN, ACL) and Wu et al. 2025 (OmniFuse, Information Fusion 117:102890)
prescribe it; it differs from zero filling through the biases of the encoder (METHODS 0.4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from fusionbench import Batch, Imputer, Provenance, hookimpl
from fusionbench.hookspecs import Register


def fill_absent(batch: Batch, fills: Mapping[str, Tensor]) -> Batch:
    """Put a fill where a modality is absent, and mark those rows imputed.

    Args:
        batch: Any batch; rows an earlier imputer filled count as absent and are filled anew.
        fills: By modality, ``[...]`` for every row alike or ``[batch, ...]``.

    Returns:
        A batch in which every row of every modality in ``fills`` is usable. Gradients reach the fill
        through filled rows only, and the features through the present ones only.
    """
    features = {n: torch.where(_rows_of(batch, n), batch.features[n], fill) for n, fill in fills.items()}
    absent = {n: ~batch.present[n] for n in fills}
    return replace(batch, features={**batch.features, **features}, imputed={**batch.imputed, **absent})


def _rows_of(batch: Batch, name: str) -> Tensor:
    """``present`` of a modality, ``[batch, 1, ...]``, to broadcast against its features."""
    return batch.present[name].reshape(-1, *[1] * (batch.features[name].ndim - 1))


class ZeroInput(Imputer):
    """Fills absent rows with ``batch.zero_input`` and marks them imputed.

    The fill is what the current encoder and projection give, so filled rows train them as well.

    Args:
        spec: Widths, outputs and target kind.
    """

    uses_zero_input: ClassVar[bool] = True
    provenance: ClassVar[Provenance | None] = Provenance(
        paper="Zhao, Li, Jin 2021, MMIN, ACL; Wu et al. 2025, OmniFuse, Information Fusion 117:102890",
        equations="u_m = P_m e_m(0) where m is absent",
        link="https://aclanthology.org/2021.acl-long.203",
        code="https://github.com/AIM3-RUC/MMIN (read, not copied)",
    )

    def forward(self, batch: Batch) -> Batch:
        """Return the batch with every absent row filled."""
        return fill_absent(batch, {name: batch.zero_input[name] for name in batch.names})


@hookimpl
def register_imputers(register: Register) -> None:
    """Register ``zero_input``."""
    register("zero_input", ZeroInput)
