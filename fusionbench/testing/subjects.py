"""What is examined: a plugin class with its options, seen the same way whatever its kind.

A subject knows how to build the plugin, how to call it, what of the result a reader may rely on,
and what is minimised in training. The checks know nothing else about kinds.
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from fusionbench.contract.batch import Batch, FusionOutput, FusionSpec
from fusionbench.contract.learners import Component, FittedStrategy, FusionStrategy, Imputer, Regulariser
from fusionbench.contract.stages import Stage
from fusionbench.testing.batches import Case, default_cases
from fusionbench.training.model import seeded


class CheckSkippedError(Exception):
    """A check does not apply; the message says why."""


@cache
def _default_cases() -> tuple[Case, ...]:
    return default_cases()


@dataclass(frozen=True)
class Examined(ABC):
    """One plugin class under examination, whatever its kind.

    Args:
        plugin: The class.
        options: Constructor arguments besides the spec.
    """

    kind: ClassVar[str]
    plugin: type[Any]
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """Name and options, for test ids."""
        options = ",".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.plugin.__name__}({options})" if options else self.plugin.__name__

    @abstractmethod
    def fresh(self) -> Examined:
        """The subject with its own copy of the cases, so that a plugin that writes to them harms no other."""

    @abstractmethod
    def example(self, **changes: Any) -> Any:
        """Build the plugin for one of the cases, with other options."""

    def ready(self) -> None:
        """Build the plugin once: what stops it here, a missing file or option, would stop every check."""
        self.example()


@dataclass(frozen=True)
class Subject(Examined):
    """One strategy, imputer or regulariser under examination.

    A required argument called ``modality`` that is not among the options receives the alphabetically first modality.

    Args:
        cases: The batches to examine it on.
    """

    cases: tuple[Case, ...] = field(default_factory=_default_cases, repr=False)

    def some(self, count: int) -> tuple[Case, ...]:
        """About ``count`` cases, for checks that take long, with sizes, targets and patterns mixed."""
        stride = max(1, len(self.cases) // count)
        while stride > 1 and math.gcd(stride, len(self.cases)) > 1:
            stride += 1  # a stride that divides the number of cases would meet one pattern only
        return self.cases[::stride]

    def covering(self) -> tuple[Case, ...]:
        """One case for each spec, with the patterns taken in turn, for checks that take long."""
        by_spec: dict[Any, list[Case]] = {}
        for case in self.cases:
            by_spec.setdefault((*case.spec.dims.items(), case.spec.num_outputs, case.spec.kind), []).append(case)
        return tuple(cases[i % len(cases)] for i, cases in enumerate(by_spec.values()))

    def one_per_spec(self) -> tuple[Case, ...]:
        """One case for each spec, for checks that set the masks themselves."""
        specs = {(*case.spec.dims.items(), case.spec.num_outputs, case.spec.kind): case for case in self.cases}
        return tuple(specs.values())

    def fresh(self) -> Subject:
        """The subject with its own copy of the cases, so that a plugin that writes to them harms no other."""
        return replace(self, cases=tuple(case.copy() for case in self.cases))

    def build(
        self, spec: FusionSpec, *, seed: int = 0, dtype: torch.dtype = torch.float64, **changes: Any
    ) -> Component:
        """Build the plugin from a seed, leaving the global random state alone."""
        options = {**_modality_option(self.plugin, spec), **self.options, **changes}
        built: Component = seeded(seed, lambda: self.plugin(spec, **options).to(dtype))
        return built

    def example(self, **changes: Any) -> Component:
        """Build the plugin for the first case."""
        return self.build(self.cases[0].spec, **changes)

    def trained(self, case: Case, **options: Any) -> Component:
        """Build the plugin in evaluation mode, with what it takes before a first prediction."""
        return self.build(case.spec, **options).eval()

    @abstractmethod
    def call(self, part: Any, batch: Batch) -> Any:
        """Run the plugin on a batch."""

    @abstractmethod
    def readout(self, result: Any) -> dict[str, Tensor]:
        """What of the result others rely on: tensors with one entry per row, by name."""

    @abstractmethod
    def loss(self, part: Any, result: Any, batch: Batch, target: Tensor) -> Tensor:
        """The scalar that training minimises."""

    def predict(self, part: Any, batch: Batch) -> dict[str, Tensor]:
        """Run the plugin without gradients and read the result out."""
        with torch.no_grad():
            return self.readout(self.call(part, batch))

    def statistics(self, part: Any, batch: Batch, target: Tensor) -> Mapping[str, Tensor]:
        """The plugin's sums over a batch."""

        def predict(view: Batch) -> FusionOutput:
            # the loop imputes a narrowed view anew; here the code of the whole sample stands in
            return self.output(part, view if view.latents is not None else replace(view, latents=batch.latents))

        sums: Mapping[str, Tensor] = part.statistics(predict(batch), batch, target, predict)
        return sums

    def output(self, part: Any, batch: Batch) -> FusionOutput:
        """A prediction to go with the batch, where the plugin itself makes none."""
        return plain_output(part.spec, batch)

    def stages(self, part: Any) -> tuple[Stage, ...]:
        """How the plugin is trained."""
        return (Stage("train"),)


class StrategySubject(Subject):
    """A fusion strategy."""

    kind = "strategy"

    def call(self, part: Any, batch: Batch) -> FusionOutput:
        """Predict."""
        result = part(batch)
        return result if isinstance(result, FusionOutput) else FusionOutput(result)

    def readout(self, result: Any) -> dict[str, Tensor]:
        """Logits, and those of single modalities."""
        unimodal = {key: value for key, value in result.aux.items() if key.startswith("unimodal.")}
        return {"logits": result.logits, **unimodal}

    def loss(self, part: Any, result: Any, batch: Batch, target: Tensor) -> Tensor:
        """The strategy's own loss."""
        loss: Tensor = part.loss(result, batch, target)
        return loss

    def output(self, part: Any, batch: Batch) -> FusionOutput:
        """The strategy's own prediction."""
        return self.call(part, batch)

    def stages(self, part: Any) -> tuple[Stage, ...]:
        """The strategy's own stages."""
        return tuple(part.stages())


class FittedSubject(StrategySubject):
    """A strategy that is fitted at once: where others are built, it is built and fitted to the case."""

    kind = "fitted strategy"

    def unfitted(self, case: Case, **options: Any) -> FittedStrategy:
        """Build it, in evaluation mode."""
        part = self.build(case.spec, **options).eval()
        assert isinstance(part, FittedStrategy)
        return part

    def fit(self, part: FittedStrategy, case: Case, seed: int = 0) -> Mapping[str, Tensor]:
        """Fit it to the rows of a case, and return what it gives."""
        with torch.no_grad():
            return part.fit(part.inputs(case.batch), case.target, seed)

    def trained(self, case: Case, **options: Any) -> Component:
        """Build and fit it."""
        part = self.unfitted(case, **options)
        take_over(part, self.fit(part, case))
        return part


def take_over(part: FittedStrategy, state: Mapping[str, Tensor]) -> None:
    """Give buffers the values that were fitted; shapes may change."""
    for name, value in state.items():
        path, _, own = name.rpartition(".")
        part.get_submodule(path).register_buffer(own, value.clone())


class ImputerSubject(Subject):
    """An imputer."""

    kind = "imputer"

    def trained(self, case: Case, **options: Any) -> Component:
        """Build the imputer and, where it works on inputs, fit it."""
        part = super().trained(case, **options)
        assert isinstance(part, Imputer)
        if part.level == "input":
            part.fit(case.batch)
        return part

    def call(self, part: Any, batch: Batch) -> Batch:
        """Fill what is absent."""
        completed: Batch = part(batch)
        return completed

    def readout(self, result: Any) -> dict[str, Tensor]:
        """Completed features, who is usable, and the code of the sample."""
        features = {f"features of {name}": result.completed(name) for name in result.names}
        usable = {f"usable rows of {name}": result.usable(name) for name in result.names}
        return features | usable | ({} if result.latents is None else {"latents": result.latents})

    def loss(self, part: Any, result: Any, batch: Batch, target: Tensor) -> Tensor:
        """The imputer's loss on top of one that reaches everything it has filled in."""
        filled = [tensor for tensor in self.readout(result).values() if tensor.is_floating_point()]
        loss: Tensor = part.loss(result, torch.stack([tensor.square().mean() for tensor in filled]).sum())
        return loss


class RegulariserSubject(Subject):
    """A regulariser: it is called with a prediction that the kit makes up from the batch."""

    kind = "regulariser"

    def call(self, part: Any, batch: Batch) -> FusionOutput:
        """Make up a prediction."""
        return plain_output(part.spec, batch)

    def readout(self, result: Any) -> dict[str, Tensor]:
        """Nothing: a regulariser takes no part in prediction."""
        return {}

    def loss(self, part: Any, result: Any, batch: Batch, target: Tensor) -> Tensor:
        """The term it adds."""
        loss: Tensor = part.loss(result, batch, target)
        return loss


def plain_output(spec: FusionSpec, batch: Batch) -> FusionOutput:
    """A prediction without parameters: leading features of each modality as its logits, and their sum."""
    unimodal = {f"unimodal.{name}": batch.completed(name)[:, : spec.num_outputs] for name in spec.names}
    return FusionOutput(torch.stack(list(unimodal.values())).sum(dim=0), unimodal)


def subject_for(
    plugin: type[Any], options: Mapping[str, Any] | None = None, cases: tuple[Case, ...] | None = None
) -> Subject:
    """Return the subject for a strategy, imputer or regulariser.

    Raises:
        TypeError: The class is none of these.
    """
    kinds: dict[type, type[Subject]] = {
        FittedStrategy: FittedSubject,  # a strategy too, so asked first
        FusionStrategy: StrategySubject,
        Imputer: ImputerSubject,
        Regulariser: RegulariserSubject,
    }
    for base, subject in kinds.items():
        if isinstance(plugin, type) and issubclass(plugin, base):
            return subject(plugin, dict(options or {}), _default_cases() if cases is None else tuple(cases))
    raise TypeError(f"the kit examines subclasses of {', '.join(k.__name__ for k in kinds)}; found {plugin!r}")


def _modality_option(plugin: type[Component], spec: FusionSpec) -> dict[str, str]:
    parameter = inspect.signature(plugin).parameters.get("modality")
    required = parameter is not None and parameter.default is inspect.Parameter.empty
    return {"modality": min(spec.names)} if required else {}
