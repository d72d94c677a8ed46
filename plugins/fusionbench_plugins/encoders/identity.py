"""Identity: a vector is its own embedding."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from fusionbench import Encoder, InputSpec, Provenance, hookimpl
from fusionbench.hookspecs import Register


class Identity(Encoder):
    """Pass vectors through.

    Not ``frozen``: there is nothing to compute once, and the modality's own choice of the columns to standardise
    stays in force.

    Args:
        spec: A vector modality, shape ``(width,)``.

    Shapes:
        Reads and returns float ``[batch, width]``.
    """

    accepts: ClassVar[frozenset[str]] = frozenset({"vector"})
    proposed_for: ClassVar[frozenset[str]] = frozenset({"vector"})
    provenance: ClassVar[Provenance | None] = Provenance(paper="none: the embedding is the input")

    def __init__(self, spec: InputSpec) -> None:
        super().__init__()
        (self.output_dim,) = spec.shape

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the input."""
        return inputs


@hookimpl
def register_encoders(register: Register) -> None:
    """Register ``identity``."""
    register("identity", Identity)
