"""Stacked tensors of many models in one buffer, a row for each model, so that one pass over memory reaches them all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

CACHE_LINE: Final = 64
"""Bytes. torch's fused kernels divide memory at multiples of it, and round in another way behind the last one; so every
tensor of every model begins at such a multiple, and no model's numbers depend on who lies beside it."""


class Packed:
    """Tensors ``[models, ...]`` as views of one buffer ``[models, numbers]``.

    Args:
        like: By name, the tensors; of one type and on one device.

    Attributes:
        buffer: Zeros at first, between the tensors always.
        views: By name, where the tensors lie; they keep their place.
    """

    def __init__(self, like: Mapping[str, Tensor]) -> None:
        first = next(iter(like.values()))
        line = CACHE_LINE // first.element_size()
        models, width = len(first), 0
        self._columns: dict[str, tuple[int, int]] = {}
        for name, tensor in like.items():
            end = width + -(-tensor[0].numel() // line) * line
            self._columns[name] = (width, end)
            width = end
        # one line more than is asked for: the first model then begins at a line wherever the memory lies
        room = torch.zeros(models * width + line, dtype=first.dtype, device=first.device)
        start = (-room.data_ptr() % CACHE_LINE) // first.element_size()
        self.buffer = room[start : start + models * width].view(models, width)
        self.views = {n: self._view(n, t) for n, t in like.items()}

    def _view(self, name: str, tensor: Tensor) -> Tensor:
        start, _ = self._columns[name]
        return self.buffer[:, start : start + tensor[0].numel()].view(tensor.shape)

    def spans(self, names: Iterable[str]) -> list[tuple[int, int]]:
        """Return the columns of the named tensors, neighbours as one span."""
        wanted, found = set(names), list[tuple[int, int]]()
        for name, (start, end) in self._columns.items():
            if name in wanted and found and found[-1][1] == start:
                found[-1] = (found[-1][0], end)
            elif name in wanted:
                found.append((start, end))
        return found

    def pieces(self, models: range, spans: Sequence[tuple[int, int]]) -> list[Tensor]:
        """Return some columns of neighbouring models, as few tensors without gaps as there can be."""
        width = self.buffer.shape[1]
        if list(spans) == [(0, width)]:
            return [self.buffer[models.start : models.stop].view(-1)]
        return [self.buffer[m, start:end] for m in models for start, end in spans]


def packed(tensors: Mapping[str, Tensor]) -> tuple[list[Packed], dict[str, Tensor]]:
    """Copy tensors into buffers, one for each type: return the buffers, and the copies, which want gradients as they did."""
    buffers, found = list[Packed](), dict[str, Tensor]()
    # those that are trained beside each other
    for dtype, trained in sorted({(t.dtype, not t.requires_grad) for t in tensors.values()}, key=str):
        own = {n: t for n, t in tensors.items() if (t.dtype, not t.requires_grad) == (dtype, trained)}
        buffers.append(Packed(own))
        found |= {n: buffers[-1].views[n].copy_(t.detach()) for n, t in own.items()}
    return buffers, {n: found[n].detach().requires_grad_(t.requires_grad) for n, t in tensors.items()}
