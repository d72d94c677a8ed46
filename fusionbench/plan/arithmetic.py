"""Which precision a run computes in: what was asked for, as far as its devices can do it.

Results are stored under what was computed, never under what was asked for, so that one key means one kind of numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from fusionbench.errors import ConfigError

if TYPE_CHECKING:
    from fusionbench.config.sections import TrainingSection

FORCED = "--set training.precision_forced=true"


@dataclass(frozen=True)
class Abilities:
    """What a device can do in half precision.

    Args:
        device: The device in words: ``this processor (AVX2)``.
        native: Whether it has instructions of its own for matrix products in bfloat16. Without them, products are put
            together from float32, several times slower than float32 itself.
        recurrent: Whether the library's recurrent layers (LSTM, GRU, RNN) run in bfloat16 at all, forward and backward.
        half: Whether rows held in float16 can be gathered and read as float32.
    """

    device: str
    native: bool
    recurrent: bool
    half: bool

    @property
    def pays(self) -> bool:
        """Whether bfloat16 is faster than float32: only with instructions of its own."""
        return self.native

    def __str__(self) -> str:
        if self.native and self.recurrent:
            return f"{self.device} has instructions for bfloat16"
        lacking = "has instructions for bfloat16" if self.native else "has no instructions for bfloat16"
        return f"{self.device} {lacking}" + ("" if self.recurrent else " and no kernel for recurrent layers in it")


ELSEWHERE = Abilities("the workers", native=True, recurrent=True, half=True)
"""Of places that are not known before the work begins: what is asked for is computed, and a worker that cannot says so."""


@dataclass(frozen=True)
class Arithmetic:
    """What a run computes in.

    Args:
        precision: Of the matrix products of encoders, projections, imputers and strategies.
        features: Of the embeddings of frozen encoders while they are held on the device.
        recurrent: Of the recurrent layers in them.
        asked: The settings of the training section that this follows from.
        notes: Where something else was asked for, or has a price: a sentence each.
    """

    precision: Literal["float32", "bfloat16"] = "float32"
    features: Literal["float32", "float16"] = "float32"
    recurrent: Literal["float32", "bfloat16"] = "float32"
    asked: tuple[tuple[str, Any], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> dict[str, str]:
        """What enters the key of a result: nothing where all is float32."""
        found = {"precision": self.precision, "features": self.features}
        if self.recurrent != self.precision:
            found["recurrent"] = self.recurrent
        return {name: value for name, value in found.items() if value != "float32" or name == "recurrent"}

    def __str__(self) -> str:
        return ", ".join(
            [self.precision, *(f"{name} {value}" for name, value in self.key.items() if name != "precision")]
        )

    @property
    def record(self) -> dict[str, Any]:
        """What was asked for, what was computed, and why, as plain data."""
        computed = {"precision": self.precision, "features": self.features, "recurrent": self.recurrent}
        return {"asked": dict(self.asked), "computed": computed, "why": list(self.notes)}

    @property
    def assignments(self) -> list[str]:
        """The settings that make another process, on another device, compute in the same."""
        return [f"training.precision={self.precision}", f"training.features={self.features}"]


FLOAT32 = Arithmetic()
"""All of it in float32, as nobody asked for anything else."""


def settle(training: TrainingSection, devices: Sequence[Abilities]) -> Arithmetic:
    """Return what a run computes in on these devices; each of them computes in the same.

    Args:
        training: What is asked for.
        devices: What each device can do, one or more.

    Raises:
        ConfigError: Some of the devices would compute recurrent layers in bfloat16, and others cannot.
    """
    precision, recurrent, notes = _products(training, devices)
    features = training.features
    without = [d.device for d in devices if not d.half]
    if features == "float16" and without:
        features = "float32"
        notes.append(
            "features are held in float32: training.features asks for float16, and "
            f"{_listed(without)} cannot read rows that are held in it"
        )
    asked = {
        "precision": training.precision,
        "precision_forced": training.precision_forced,
        "features": training.features,
    }
    return Arithmetic(precision, features, recurrent, tuple(asked.items()), tuple(notes))


_Precision = Literal["float32", "bfloat16"]


def _products(training: TrainingSection, devices: Sequence[Abilities]) -> tuple[_Precision, _Precision, list[str]]:
    """Precision of products, of recurrent layers, and what is to be said of it."""
    if training.precision == "float32":
        return "float32", "float32", []
    unfit = _listed([str(d) for d in devices if not (d.native and d.recurrent)])
    if not unfit:
        return "bfloat16", "bfloat16", []
    pays = all(d.pays for d in devices)
    if not pays and not training.precision_forced:
        why = f"training.precision asks for bfloat16, and {unfit}"
        return "float32", "float32", [f"computed in float32: {why}; {FORCED} computes in bfloat16 nevertheless"]
    if len({d.recurrent for d in devices}) > 1:
        raise ConfigError(
            f"training.precision: in bfloat16 these devices would compute recurrent layers in two kinds of numbers: {unfit}, "
            "and another one can; accepted: devices of one kind, named with --device, or training.precision: float32"
        )
    layers: _Precision = "bfloat16" if devices[0].recurrent else "float32"
    said = ["" if layers == "bfloat16" else "recurrent layers are computed in float32"]
    said += ["" if pays else "expect it to be slower than float32"]
    asks = "training.precision asks" if pays else "training.precision_forced asks"
    return "bfloat16", layers, ["; ".join([f"computed in bfloat16, as {asks}, though {unfit}", *filter(None, said)])]


def _listed(words: Sequence[str]) -> str:
    return " and ".join(dict.fromkeys(words))


def outlook(device: Abilities) -> str:
    """Say what ``training.precision: bfloat16`` would mean on a device."""
    computed = "bfloat16" if device.pays else "float32"
    return f"{device}: where training.precision asks for it, a run computes in {computed}"
