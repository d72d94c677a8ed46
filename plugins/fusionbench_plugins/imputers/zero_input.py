"""Zero-input filling: an absent modality becomes the encoding of an all-zero input.

Papers: Zhao, Li, Jin 2021 (MMIN, ACL) and Wu et al. 2025 (OmniFuse, Information Fusion 117:102890)
prescribe it; it differs from zero filling through the biases of the encoder.
"""

from __future__ import annotations

from typing import ClassVar

from fusionbench import Batch, Imputer, Provenance, hookimpl
from fusionbench.hookspecs import Register


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
        code="https://github.com/AIM3-RUC/MMIN (MIT; read, not copied)",
        differs="where a trained encoder reads standardised inputs, the zeros are zeros there, that is means; projected",
    )

    def forward(self, batch: Batch) -> Batch:
        """Return the batch with every absent row filled."""
        return batch.filled({name: batch.zero_input[name] for name in batch.names})


@hookimpl
def register_imputers(register: Register) -> None:
    """Register ``zero_input``."""
    register("zero_input", ZeroInput)
