"""What encoders are examined on: raw rows of every kind, small, seeded, and awkward on purpose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fusionbench.contract.batch import InputSpec
from fusionbench.contract.learners import Encoder
from fusionbench.noise import NoiseSource
from fusionbench.seeding import numpy_generator, torch_generator
from fusionbench.testing.subjects import Examined
from fusionbench.training.model import seeded

Values = NDArray[Any] | Sequence[str]
TEXTS = ("No acute findings.", "", "Large right effusion; oedema: 2 cm!", "  \n", "Überlauf 肺炎", "clear lungs " * 60)


@dataclass(frozen=True)
class InputCase:
    """Raw rows of one modality. Guests may bring their own.

    Args:
        name: What is special about it; appears in messages.
        spec: What encoders are built for.
        values: As ``Modality.values``: float32 series and vectors, uint8 images, or texts.
        lengths: For series of differing length: int64 ``[rows]``, valid steps, at least 1.
    """

    name: str
    spec: InputSpec
    values: Values
    lengths: NDArray[np.int64] | None = None

    def rows(self, index: Sequence[int]) -> InputCase:
        """Return the case with the rows at ``index``, in that order."""
        if not isinstance(self.values, np.ndarray):
            return replace(self, values=[self.values[i] for i in index])
        lengths = None if self.lengths is None else self.lengths[list(index)]
        return replace(self, values=self.values[list(index)], lengths=lengths)

    def copy(self) -> InputCase:
        """Return the case with arrays of its own."""
        return self.rows(range(len(self.values)))

    def blank(self) -> InputCase:
        """Return one all-zero row, an empty text for texts: what ``Batch.zero_input`` is the embedding of."""
        if not isinstance(self.values, np.ndarray):
            return replace(self, name=f"{self.name}, an empty text", values=[""])
        zero = np.zeros_like(self.values[:1])
        return replace(self, name=f"{self.name}, all zero", values=zero, lengths=None)


def default_inputs() -> tuple[InputCase, ...]:
    """Series with and without lengths, images, texts and vectors."""
    draw = numpy_generator("conformance inputs")

    def normal(*shape: int) -> NDArray[np.float32]:
        return (3 * draw.standard_normal(shape)).astype(np.float32)

    series, flags = InputSpec("series", (6, 4), (True, True, False, False)), (normal(5, 6, 4) > 0).astype(np.float32)
    mixed = np.concatenate([normal(5, 6, 2), flags[..., :2]], axis=2)
    pixels = draw.integers(0, 256, (4, 24, 32), dtype=np.uint8)
    return (
        InputCase("series of differing length", series, mixed, np.array([6, 1, 3, 6, 2])),
        InputCase("series of one length", InputSpec("series", (4, 3)), normal(5, 4, 3)),
        InputCase("image", InputSpec("image", (24, 32)), pixels),
        InputCase("text", InputSpec("text"), TEXTS),
        InputCase("vector", InputSpec("vector", (5,)), normal(6, 5)),
    )


@dataclass(frozen=True)
class EncoderSubject(Examined):
    """One encoder class under examination.

    Args:
        cases: The inputs to examine it on; those of a kind that it does not accept are left out.
    """

    kind: ClassVar[str] = "encoder"
    cases: tuple[InputCase, ...] = ()

    def accepted(self) -> tuple[InputCase, ...]:
        """The cases of a kind that the encoder accepts."""
        return tuple(case for case in self.cases if case.spec.kind in self.plugin.accepts)

    def fresh(self) -> EncoderSubject:
        """The subject with its own copy of the cases, so that a plugin that writes to them harms no other."""
        return replace(self, cases=tuple(case.copy() for case in self.cases))

    def build(self, spec: InputSpec, *, seed: int = 0, **changes: Any) -> Encoder:
        """Build the encoder in evaluation mode from a seed, leaving the global random state alone."""
        built: Encoder = seeded(seed, lambda: self.plugin(spec, **{**self.options, **changes}).eval())
        return built

    def example(self, **changes: Any) -> Encoder:
        """Build the encoder for the first case that it accepts."""
        return self.build(self.accepted()[0].spec, **changes)


def read(encoder: Encoder, case: InputCase) -> tuple[Tensor, Tensor | None]:
    """Return what ``forward`` reads, as the feature store and the training loop hand it over."""
    values, lengths = encoder.prepare(case.values)
    lengths = case.lengths if lengths is None else lengths
    return torch.from_numpy(np.array(values)), None if lengths is None else torch.from_numpy(np.array(lengths))


def encode(encoder: nn.Module, values: Tensor, lengths: Tensor | None) -> Tensor:
    """Run the encoder as the loop does: lengths are given only where rows have them."""
    encoded: Tensor = encoder(values) if lengths is None else encoder(values, lengths)
    return encoded


def valid(encoded: Tensor, lengths: Tensor | None) -> Tensor:
    """Embeddings with what lies behind the valid tokens set to zero: nobody reads it."""
    if encoded.ndim == 2 or lengths is None:
        return encoded
    return torch.where((torch.arange(encoded.shape[1]) < lengths[:, None])[..., None], encoded, 0)


def give_noise(encoder: nn.Module, rows: int, seed: int = 0) -> None:
    """Fill every noise source as the loop does before a step."""
    for name, module in encoder.named_modules():
        if isinstance(module, NoiseSource):
            module.noise = module.draw(rows, torch_generator("conformance noise", module=name, seed=seed))


def floats(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with floating point ones in float64."""
    return {name: t.double() if t.is_floating_point() else t for name, t in tensors.items()}
