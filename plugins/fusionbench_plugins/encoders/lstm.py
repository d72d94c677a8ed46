"""LSTM over a series; the embedding is the hidden state at each row's last valid step.

Paper: Hayat, Geras and Shamout 2022, MedFuse, MLHC (EHR encoder: two layers, 256 units, dropout 0.3).
Differs: steps after the last valid one are never read (no packing: the state is gathered), and dropout uses one mask
per row for all steps, drawn by the training loop.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from fusionbench import Encoder, InputSpec, Provenance, hookimpl
from fusionbench.heads import lstm_cell
from fusionbench.hookspecs import Register
from fusionbench.noise import Dropout


class Lstm(Encoder):
    """Layers of LSTM with dropout between them and on the embedding. Trainable.

    Args:
        spec: A series modality, shape ``(steps, channels)``.
        hidden: Units of each layer and direction.
        layers: Number of layers.
        dropout: Probability of zeroing a unit of a layer's output.
        bidirectional: Read each row also backwards, from its last valid step; the embedding holds both.
        cell: ``fused``: the library's kernel, three times faster on a CPU, one run after the other.
            ``plain``: matrix products step by step, the same numbers, can be stacked over runs.
            ``auto``: ``plain`` on CUDA, where only a stack fills the device, and ``fused`` elsewhere.

    Shapes:
        Reads float ``[batch, steps, channels]``, returns float ``[batch, hidden]`` (twice as wide when bidirectional).
    """

    accepts: ClassVar[frozenset[str]] = frozenset({"series"})
    proposed_for: ClassVar[frozenset[str]] = frozenset({"series"})
    provenance: ClassVar[Provenance | None] = Provenance(
        paper="Hayat, Geras and Shamout 2022, MedFuse: Multi-modal fusion with clinical time-series data and chest "
        "X-ray images, MLHC (EHR encoder)",
        differs="one dropout mask per row for all steps, drawn by the training loop",
    )

    def __init__(
        self,
        spec: InputSpec,
        hidden: int = 128,
        layers: int = 1,
        dropout: float = 0.0,
        bidirectional: bool = False,
        cell: Literal["auto", "fused", "plain"] = "auto",
    ) -> None:
        super().__init__()
        if layers < 1:
            raise ValueError(f"an LSTM needs at least one layer, found {layers}")
        _, channels = spec.shape
        self.hidden = hidden
        self.cell = cell
        self.stackable = cell == "plain"
        directions = 2 if bidirectional else 1
        self.output_dim = directions * hidden
        # each layer has a cell for each direction; the second one reads backwards
        self.layers = nn.ModuleList(
            nn.ModuleList(nn.LSTM(width, hidden, batch_first=True) for _ in range(directions))
            for width in [channels] + [self.output_dim] * (layers - 1)
        )
        # a layer that never drops is left out: it would ask the loop for noise at every step
        self.dropouts = nn.ModuleList(
            Dropout(self.output_dim, dropout) if dropout else nn.Identity() for _ in range(layers)
        )

    def extra_repr(self) -> str:
        """Settings that decide the output and are not in the weights."""
        return f"cell={self.cell}, hidden={self.hidden}"

    def stackable_on(self, device: torch.device) -> bool:
        """Only the plain cell is stacked: vectorising takes the library's kernel apart, and is ten times slower than a loop."""
        return self.cell == "plain" or (self.cell == "auto" and device.type == "cuda")

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode; every row has at least one valid step."""
        batch, steps, _ = inputs.shape
        time = torch.arange(steps, device=inputs.device)
        if lengths is None:
            x, lengths = inputs, torch.full((batch,), steps, device=inputs.device)
        else:
            # gradients multiply what is in the padding by zero: it must be finite
            x = torch.where((time < lengths[:, None])[..., None], inputs, 0)
        backwards = (lengths[:, None] - 1 - time).clamp(min=0)
        for layer, dropout in zip(self.layers, self.dropouts, strict=True):
            x = dropout(self._layer(layer, x, backwards))
        forward_end = _take(x[..., : self.hidden], lengths[:, None] - 1)[:, 0]
        if self.output_dim == self.hidden:  # a part without columns would have a gradient as large as the series
            return forward_end
        # the backward direction ends at the first step
        return torch.cat([forward_end, x[:, 0, self.hidden :]], dim=1)

    def _layer(self, cells: nn.Module, x: Tensor, backwards: Tensor) -> Tensor:
        forward_cell, *backward_cell = cells.children()
        if not backward_cell:
            return self._run(forward_cell, x)
        outputs = [self._run(forward_cell, x)]
        outputs += [_take(self._run(cell, _take(x, backwards)), backwards) for cell in backward_cell]
        return torch.cat(outputs, dim=2)

    def _run(self, cell: nn.Module, x: Tensor) -> Tensor:
        if not self.stackable_on(x.device):
            outputs: Tensor = cell(x)[0]
            return outputs
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        weight_in, weight_hidden, *biases = (getattr(cell, name) for name in names)
        return plain_lstm(x, weight_in, weight_hidden, biases[0] + biases[1])


def plain_lstm(x: Tensor, weight_in: Tensor, weight_hidden: Tensor, bias: Tensor) -> Tensor:
    """LSTM from zero state, gates in the order input, forget, cell, output.

    Args:
        x: ``[batch, steps, channels]``.
        weight_in: ``[4 hidden, channels]``.
        weight_hidden: ``[4 hidden, hidden]``.
        bias: ``[4 hidden]``.

    Returns:
        The hidden states, ``[batch, steps, hidden]``.
    """
    driven = x @ weight_in.T + bias
    hidden = x.new_zeros(len(x), weight_hidden.shape[1])
    memory = hidden
    states = []
    for step in driven.unbind(dim=1):
        hidden, memory = lstm_cell(step + hidden @ weight_hidden.T, memory)
        states.append(hidden)
    return torch.stack(states, dim=1)


def _take(x: Tensor, steps: Tensor) -> Tensor:
    """Pick steps ``[batch, k]`` of ``x`` ``[batch, steps, width]``."""
    return x.gather(1, steps[..., None].expand(-1, -1, x.shape[2]))


@hookimpl
def register_encoders(register: Register) -> None:
    """Register ``lstm``."""
    register("lstm", Lstm)
