"""The rows that training gathers from: every modality as one tensor, with per-fold standardising.

Nothing is copied per fold or per model: models index into the same tensors, and carry the mean and
scale of their own training rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusionbench.data.features import Inputs
from fusionbench.errors import ConfigError
from fusionbench.targets import TargetKind

LARGEST_COPY: Final = 2**29
"""Bytes of standardised copies that a table keeps, of all folds and modalities."""
LARGEST_HALF: Final = 65504.0
"""The largest number of float16."""

_SMALL: Final = 1e-7
_ROUNDING: Final = 1e-6  # of the size of an embedding: what single precision makes of equal inputs in different batches


class Scaling(NamedTuple):
    """Mean and scale of one modality's last axis over training rows; ``[width]``, float32 at least."""

    mean: Tensor
    scale: Tensor


@dataclass
class RowTable:
    """All rows of a data set, ready to be indexed.

    Args:
        values: By modality ``[rows, ...]``: features of frozen encoders, or what a trainable encoder reads. Those in
            float16 are to be read as float32 (:func:`in_single`).
        lengths: By modality, int64 ``[rows]`` for series and tokens of differing length.
        standardise: By modality, bool ``[width]`` of the last axis; absent: nothing is standardised.
        zero: By modality, the encoding of an all-zero input (frozen), or that input itself (trainable); never float16.
        zero_lengths: By modality, valid steps or tokens of it, where rows have lengths.
        available: Bool ``[rows, modalities]``.
        target: Int64 ``[rows]`` or ``[rows, labels]``.
        kind: What the target means.
        num_outputs: Number of logits.
        encoded: The modalities whose values a frozen encoder computed.
    """

    values: Mapping[str, Tensor]
    lengths: Mapping[str, Tensor]
    standardise: Mapping[str, Tensor]
    zero: Mapping[str, Tensor]
    zero_lengths: Mapping[str, int]
    available: Tensor
    target: Tensor
    kind: TargetKind
    num_outputs: int
    encoded: frozenset[str] = frozenset()
    # of these rows: a copy with other rows begins with none
    _scalings: dict[tuple[str, bytes], Scaling] = field(default_factory=dict, init=False)
    _standardised: dict[tuple[str, int], Tensor] = field(default_factory=dict, init=False)

    @property
    def names(self) -> list[str]:
        """Modality names, in order."""
        return list(self.values)

    @property
    def device(self) -> torch.device:
        """Where the rows are."""
        return self.target.device

    def scaling(self, name: str, rows: Tensor, present: Tensor) -> Scaling:
        """Return mean and scale over the training rows that show the modality; the spread of a constant counts as 1.

        A column is constant where its values are equal, whatever its unit: a spread alone says nothing of that. What an
        encoder computed carries its rounding, and counts as constant where it varies by no more than that.

        Args:
            name: A modality in ``standardise``.
            rows: Int64 ``[n]``, training rows of one fold.
            present: Bool ``[rows, modalities]``: what training may see; what it hides is not looked at here either.
        """
        column = self.names.index(name)
        # rows that an imputer filled are present, and were not observed
        seen = rows[(self.available & present)[rows, column]]
        key = (name, seen.cpu().numpy().tobytes())
        if key not in self._scalings:
            self._scalings[key] = self._fit_scaling(name, seen)
        return self._scalings[key]

    def standardised(self, name: str, scaling: Scaling) -> Tensor | None:
        """Return all rows of a modality standardised, made once; None where that is not worth its memory.

        Args:
            name: A modality in ``standardise``.
            scaling: As :meth:`scaling` returned it.
        """
        values, key = self.values[name], (name, id(scaling))  # the table keeps every scaling: no id comes twice
        if key in self._standardised:
            return self._standardised[key]
        needed = values.numel() * max(values.element_size(), 4)
        if values.dtype == torch.float16 or needed > LARGEST_COPY or values.device.type == "cuda":
            return None
        while self._standardised and needed + sum(t.nbytes for t in self._standardised.values()) > LARGEST_COPY:
            del self._standardised[next(iter(self._standardised))]  # the oldest; who still reads it keeps it
        floats = values if values.is_floating_point() else values.float()
        self._standardised[key] = (floats - scaling.mean) / scaling.scale
        return self._standardised[key]

    def _fit_scaling(self, name: str, rows: Tensor) -> Scaling:
        held = self.values[name]
        own = torch.promote_types(held.dtype, torch.float32)
        values = held[rows].double()
        if values.ndim == 3:
            values = _valid_steps(values, self.lengths[name][rows] if name in self.lengths else None)
        wanted = self.standardise[name]
        if len(values) < 2:
            return Scaling(torch.zeros_like(wanted, dtype=own), torch.ones_like(wanted, dtype=own))
        spread = values.std(dim=0)
        mean = torch.where(wanted, values.mean(dim=0), 0.0)
        scale = torch.where(wanted & self._varies(name, values, spread), spread, 1.0).to(own)
        return Scaling(mean.to(own), torch.where(scale > 0, scale, 1.0))

    def _varies(self, name: str, values: Tensor, spread: Tensor) -> Tensor:
        """Bool ``[width]`` of values ``[n, width]``."""
        differs = values.amax(dim=0) > values.amin(dim=0)
        if name not in self.encoded:
            return differs
        return differs & ((spread > _SMALL) | (spread > _ROUNDING * values.abs().max()))


def in_single(values: Tensor) -> Tensor:
    """Return half precision as float32, and anything else as it is."""
    return values.float() if values.dtype == torch.float16 else values


def _valid_steps(values: Tensor, lengths: Tensor | None) -> Tensor:
    if lengths is None:
        return values.flatten(0, 1)
    steps = torch.arange(values.shape[1], device=values.device)
    return values[steps < lengths[:, None]]


def make_table(
    inputs: Mapping[str, Inputs],
    available: NDArray[np.bool_],
    target: NDArray[np.int64],
    kind: TargetKind,
    num_outputs: int,
    device: torch.device,
    features: Literal["float32", "float16"] = "float32",
) -> RowTable:
    """Move inputs to the device and make the table.

    Args:
        inputs: By modality.
        available: Bool ``[rows, modalities]``.
        target: Int64 ``[rows]`` or ``[rows, labels]``.
        kind: What the target means.
        num_outputs: Number of logits.
        device: Where the rows are to be.
        features: How embeddings of frozen encoders are held there; what trainable encoders read stays as it is.

    Raises:
        ConfigError: An embedding is too large for float16.
    """
    values = {n: _tensor(i.values) for n, i in inputs.items()}
    zero = {n: _tensor(i.zero_input) for n, i in inputs.items()}
    for name in [n for n, i in inputs.items() if i.encoded and features == "float16"]:
        values[name] = _halved(name, values[name])
        zero[name] = _halved(name, zero[name]).float()  # one row: rounded as the others are, ready to be read
    return RowTable(
        values={n: v.to(device) for n, v in values.items()},
        lengths={n: torch.as_tensor(i.lengths, device=device) for n, i in inputs.items() if i.lengths is not None},
        standardise={
            n: torch.as_tensor(i.standardise, device=device) for n, i in inputs.items() if i.standardise is not None
        },
        zero={n: z.to(device) for n, z in zero.items()},
        zero_lengths={n: i.zero_length for n, i in inputs.items() if i.zero_length is not None},
        available=torch.as_tensor(available, device=device),
        target=torch.as_tensor(target, device=device),
        kind=kind,
        num_outputs=num_outputs,
        encoded=frozenset(n for n, i in inputs.items() if i.encoded),
    )


def _tensor(values: NDArray[Any]) -> Tensor:
    # a read-only memory map cannot be a tensor without a warning; private pages are copied only when written
    if isinstance(values, np.memmap) and values.filename is not None and not values.flags.writeable:
        values = np.memmap(values.filename, values.dtype, "c", values.offset, values.shape)
    if np.issubdtype(values.dtype, np.floating):
        values = values.astype(np.float32, copy=False)
    return torch.from_numpy(values)


def _halved(name: str, values: Tensor) -> Tensor:
    """Round embeddings to float16.

    Raises:
        ConfigError: One is beyond its range.
    """
    if values.numel() and max(map(abs, torch.stack(torch.aminmax(values)).tolist())) > LARGEST_HALF:
        raise ConfigError(
            f"training.features: float16 holds numbers up to {LARGEST_HALF:.0f}, and the embeddings of modality '{name}' "
            "have larger ones; use float32"
        )
    return values.half()
