"""Multi-layer perceptron for vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from fusionbench import Encoder, InputSpec, Provenance, hookimpl
from fusionbench.hookspecs import Register
from fusionbench.noise import Dropout


class Mlp(Encoder):
    """Linear layers with ReLU and dropout between them; the last one is bare. Trainable.

    Args:
        spec: A vector modality, shape ``(width,)``.
        hidden: Widths of the hidden layers; empty: one linear map.
        output_dim: Width of the embedding.
        dropout: Probability of zeroing a hidden unit.

    Shapes:
        Reads float ``[batch, width]``, returns float ``[batch, output_dim]``.
    """

    accepts: ClassVar[frozenset[str]] = frozenset({"vector"})
    provenance: ClassVar[Provenance | None] = Provenance(paper="common practice")

    def __init__(
        self, spec: InputSpec, hidden: Sequence[int] = (64,), output_dim: int = 64, dropout: float = 0.0
    ) -> None:
        super().__init__()
        (width,) = spec.shape
        layers: list[nn.Module] = []
        for units in hidden:
            layers += [nn.Linear(width, units), nn.ReLU()]
            # a layer that never drops is left out: it would ask the loop for noise at every step
            layers += [Dropout(units, dropout)] if dropout else []
            width = units
        self.layers = nn.Sequential(*layers, nn.Linear(width, output_dim))
        self.output_dim = output_dim

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode."""
        embedding: Tensor = self.layers(inputs)
        return embedding


@hookimpl
def register_encoders(register: Register) -> None:
    """Register ``mlp``."""
    register("mlp", Mlp)
