"""Zero filling: absent modalities stay absent.

The reference point of every imputer: features of absent rows read as exact zeros, and the strategy
still knows who is present.
"""

from __future__ import annotations

from typing import ClassVar

from fusionbench import Batch, Imputer, Provenance, hookimpl
from fusionbench.hookspecs import Register


class Zero(Imputer):
    """Returns the batch as it came: nothing is marked imputed.

    Args:
        spec: Widths, outputs and target kind.
    """

    provenance: ClassVar[Provenance | None] = Provenance(
        paper="common practice; the baseline of most papers on missing modalities",
        equations="u_m = 0 where m is absent",
        differs="the embedding is zero after the encoder and the projection, not the raw input",
    )

    def forward(self, batch: Batch) -> Batch:
        """Return ``batch``; absent rows read as zeros through ``batch.completed``."""
        return batch


@hookimpl
def register_imputers(register: Register) -> None:
    """Register ``zero``."""
    register("zero", Zero)
