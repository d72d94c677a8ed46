"""What a benchmark is made of: plugins with their options, modalities, arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from fusionbench.contract.batch import InputSpec
from fusionbench.contract.learners import Component, FittedStrategy
from fusionbench.contract.papers import Paper
from fusionbench.contract.registration import Registration
from fusionbench.keys import digest
from fusionbench.missingness.corruption import Corruption


@dataclass(frozen=True)
class Part:
    """One plugin with its options, and where the benchmark file names it."""

    registration: Registration
    options: Mapping[str, Any]
    where: str

    def build(self, *arguments: Any, **more: Any) -> Any:
        """Construct it; ``more`` options win."""
        return self.registration.build(self.where, *arguments, **{**self.options, **more})

    @property
    def identity(self) -> dict[str, Any]:
        """What enters the key of a result."""
        return {**self.registration.identity, "options": dict(self.options)}

    @property
    def display(self) -> str:
        """What readers call it: the title of its own class, or the name under which it is registered."""
        title = vars(self.registration.target).get("title", "")  # what a class inherits is the title of another method
        return title if isinstance(title, str) and title else self.registration.name

    @property
    def searches(self) -> bool:
        """Whether it has a search space of its own."""
        owner = next(c for c in self.registration.target.__mro__ if "search_space" in vars(c))
        return owner is not Component


def options_of(owner: str, suggested: Mapping[str, Any]) -> dict[str, Any]:
    """Return the suggested options of one part of an arm by bare name: ``imputer.k`` is ``k`` of ``imputer``."""
    return {k.rpartition(".")[2]: v for k, v in suggested.items() if k.rpartition(".")[0] == owner}


@dataclass(frozen=True)
class ModalityPart:
    """One modality's encoder as training sees it.

    Args:
        part: The encoder plugin.
        spec: Kind and per-sample shape of what it reads.
        dim: Width of the encoding.
        trainable: Whether it is part of the trained model.
        fingerprint: Hash of an encoder whose weights come from elsewhere; empty where options decide it.
        weights: ``none``, ``pretrained`` or ``random``.
    """

    part: Part
    spec: InputSpec
    dim: int
    trainable: bool
    fingerprint: str
    weights: str

    @property
    def identity(self) -> dict[str, Any]:
        """What enters the key of a result."""
        return {"fingerprint": self.fingerprint, "trainable": self.trainable, **self.part.identity}


@dataclass(frozen=True)
class Arm:
    """A strategy with an imputer: one line of the leaderboard; ``modalities`` are all it may see, None: everything."""

    title: str
    strategy: Part
    imputer: Part
    regularisers: tuple[Part, ...]
    corruption: Corruption | None
    modalities: tuple[str, ...] | None = None
    labelled: bool = False
    """Whether the benchmark file chose the title."""

    @property
    def display(self) -> str:
        """What readers call the strategy: its label, or its own title with those of the regularisers and what it reads."""
        if self.labelled:
            return self.title
        read = f" on {'+'.join(self.modalities)}" if self.modalities else ""
        return " + ".join([self.strategy.display, *(r.display for r in self.regularisers)]) + read

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What enters the key of a result."""
        return {
            "strategy": self.strategy.identity,
            "imputer": self.imputer.identity,
            "regularisers": [r.identity for r in self.regularisers],
            "corruption": self.corruption,
            **({"modalities": sorted(self.modalities)} if self.modalities is not None else {}),
        }

    @property
    def parts(self) -> dict[str, Part]:
        """What may be tuned beside the common ones, by the word before its parameters; the strategy's have none."""
        more = {f"regulariser.{i}": r for i, r in enumerate(self.regularisers)}
        return {"": self.strategy, "imputer": self.imputer, **more}

    @property
    def fitted(self) -> bool:
        """Whether the strategy is fitted at once, and not trained by gradient."""
        return issubclass(self.strategy.registration.target, FittedStrategy)

    @property
    def searched(self) -> list[str]:
        """The parts beside the strategy that have something to search."""
        return [owner for owner, part in self.parts.items() if owner and part.searches]

    def tuned(self, suggested: Mapping[str, Any]) -> Arm:
        """Return the arm with what a trial suggested for its imputer."""
        options = {**self.imputer.options, **options_of("imputer", suggested)}
        return replace(self, imputer=replace(self.imputer, options=options))

    @property
    def completion(self) -> str:
        """Arms that agree in this have their inputs completed alike."""
        return digest([self.imputer.identity, self.identity.get("modalities")])

    def seen(self, names: Sequence[str]) -> list[str]:
        """Return which of the modalities it may see, in their order."""
        return [n for n in names if self.modalities is None or n in self.modalities]

    @property
    def imputer_name(self) -> str:
        """The imputer's name in tables."""
        return self.imputer.registration.name

    @property
    def label(self) -> str:
        """Strategy and imputer, unique in a benchmark."""
        return f"{self.title} / {self.imputer_name}"


@dataclass(frozen=True)
class Resolved:
    """Every name of a benchmark, looked up and loaded."""

    task: Part
    encoders: Mapping[str, Part]
    arms: tuple[Arm, ...]
    mechanism: Part
    observers: tuple[Part, ...]
    execution: Part | None = None
    """Who does the work; None: the process that was started."""
    papers: tuple[Paper, ...] = ()
    without: tuple[str, ...] = ()
    """Papers that could not be loaded, and why; one sentence each."""
