"""How to build any arm's model for a benchmark's data."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from torch import nn

from fusionbench.config.sections import Benchmark
from fusionbench.contract.batch import FusionSpec, HeadSpec
from fusionbench.contract.learners import Encoder, FusionStrategy, Imputer, Regulariser
from fusionbench.data.completion import Completed
from fusionbench.errors import ConfigError
from fusionbench.keys import digest
from fusionbench.missingness.corruption import Corruption, combined_policy
from fusionbench.noise import Dropout
from fusionbench.plan.arithmetic import FLOAT32, Arithmetic
from fusionbench.plan.parts import Arm, ModalityPart, options_of
from fusionbench.seeding import seed_for
from fusionbench.training.equality import epoch_lines, head_lines, modulation_lines
from fusionbench.training.model import FusionModel, overrides, projection, seeded
from fusionbench.training.plain import PlainInput, plain_width

SHARED = "model"
"""Before the names of suggested options that belong to no part of an arm: ``model.dropout``, ``model.encoder_depth``."""


@dataclass(frozen=True)
class Blueprint:
    """How to build any arm's model for this benchmark's data."""

    modalities: Mapping[str, ModalityPart]
    benchmark: Benchmark
    spec_outputs: int
    kind: Any
    arithmetic: Arithmetic = FLOAT32

    def fusion_spec(self, names: Sequence[str], latent_dim: int = 0, *, fitted: bool = False) -> FusionSpec:
        """Return what imputers and strategies are built for; nothing is projected for a strategy that is fitted."""
        width = None if fitted else self.benchmark.model.width
        own = {n: self._plain.get(n, m.dim) if fitted else m.dim for n, m in self.modalities.items() if n in names}
        dims = {n: dim if width is None else width for n, dim in own.items()}
        head = self.benchmark.model.head
        return FusionSpec(dims, self.spec_outputs, self.kind, latent_dim, HeadSpec(head.layers, head.width))

    @cached_property
    def _plain(self) -> Mapping[str, int]:
        """By modality with a trained encoder, the width of what a fitted strategy reads of it instead."""
        found = {}
        for name, m in self.modalities.items():
            encoder: Encoder | None = seeded(0, partial(m.part.build, m.spec)) if m.trainable else None
            if encoder is not None and any(p.requires_grad for p in encoder.parameters()):
                found[name] = plain_width(m.spec, encoder)
        return {name: width for name, width in found.items() if width}

    def input_imputer(self, arm: Arm) -> Imputer | None:
        """Return the arm's imputer where it works on encoder inputs, not fitted yet; else None."""
        imputer: Imputer = arm.imputer.build(self.fusion_spec(list(self.modalities)))
        return imputer if imputer.level == "input" else None

    def build(self, arm: Arm, seed: int, options: Mapping[str, Any], *, fold: int = 0) -> FusionModel:
        """Build one model; each part is initialised under its own seed, equal for every arm that has it.

        Fold and seed both key the first weights: the folds of one seed would otherwise share one draw of chance, and a seed
        would say next to nothing about how much training scatters.
        """
        first = partial(_initialised, fold=fold, seed=seed)
        seen = arm.seen(list(self.modalities))
        imputer, fusion, regularisers = self._learners(arm, first, options, seen)
        self._check_modulation(arm, fusion)
        if fusion.reads is not None:  # what nobody reads is neither encoded nor imputed
            imputer, fusion, regularisers = self._learners(arm, first, options, list(fusion.reads))
        shared = options_of(SHARED, options)
        names = [n for n in seen if fusion.reads is None or n in fusion.reads]
        encoders: dict[str, Encoder] = {}
        project: dict[str, nn.Module] = {}
        for name in names:
            m, hidden = self.modalities[name], self._hidden(self.modalities[name], shared.get("encoder_depth"))
            if arm.fitted and name in self._plain:
                encoders[name] = PlainInput(m.spec)
            elif m.trainable:
                encoders[name] = first(f"encoder {name}", partial(m.part.build, m.spec, **hidden))
            depth = shared.get("encoder_depth") if not hidden else None
            project[name] = first(
                f"project {name}", partial(self._projection, m, arm, self._plain.get(name, m.dim), depth)
            )
        if arm.fitted:
            self._check_fitted(arm, encoders, imputer)
        columns = [list(self.modalities).index(n) for n in names]
        precision, encoder_rows = self.arithmetic.precision, self.benchmark.training.encoder_rows
        rate = 0.0 if arm.fitted else shared.get("dropout", self.benchmark.model.dropout)
        dims = self.fusion_spec(names).dims
        drop = {n: Dropout(dims[n], rate) for n in names} if rate else None
        return FusionModel(encoders, project, imputer, fusion, regularisers, columns, precision, encoder_rows, drop)

    def _learners(
        self, arm: Arm, first: Callable[[str, Callable[[], Any]], Any], options: Mapping[str, Any], names: Sequence[str]
    ) -> tuple[Imputer, FusionStrategy, list[Regulariser]]:
        chosen = {owner: options_of(owner, options) for owner in arm.parts}
        imputer: Imputer = first(
            "imputer", lambda: arm.imputer.build(self.fusion_spec(names, fitted=arm.fitted), **chosen["imputer"])
        )
        if imputer.level == "input":  # has done its work before the model sees a row
            imputer = Completed(imputer.spec)
        spec = self.fusion_spec(names, imputer.latent_dim, fitted=arm.fitted)
        fusion: FusionStrategy = first("fusion", lambda: arm.strategy.build(spec, **chosen[""]))
        regularisers: list[Regulariser] = [
            first(f"regulariser {i}", partial(r.build, spec, **chosen[f"regulariser.{i}"]))
            for i, r in enumerate(arm.regularisers)
        ]
        return imputer, fusion, regularisers

    def _check_modulation(self, arm: Arm, fusion: FusionStrategy) -> None:
        """Refuse what would have no effect.

        Raises:
            ConfigError: The strategy scales gradients, and the optimiser divides the scale out again.
        """
        training = self.benchmark.training
        scales = overrides(fusion, "modulate") and fusion.modulates == "gradient" and fusion.rescales
        if scales and training.adaptive:
            raise ConfigError(
                f"{arm.strategy.where}: '{arm.title}' scales gradients, and training.optimiser: {training.optimiser} divides "
                "each gradient by its own usual size, so that the scale is divided out again and hardly anything is left of the "
                "method; let it change the update (its option, such as apply: auto or update; its class: modulates = 'auto', or "
                "rescales = False where it turns gradients), or use training.optimiser: sgd"
            )

    def _projection(self, modality: ModalityPart, arm: Arm, dim: int, depth: int | None = None) -> nn.Module:
        model = self.benchmark.model
        own = {"linear": 0, "mlp": 1}[model.projection]
        if arm.fitted:  # nothing is projected for it
            return projection(dim, None, 0)
        return projection(modality.dim, model.width, own if depth is None else depth)

    def _check_fitted(self, arm: Arm, encoders: Mapping[str, Encoder], imputer: Imputer) -> None:
        """Refuse beside a fitted strategy what only gradients could train.

        Raises:
            ConfigError: It says what, and what may stand there.
        """
        name, where = arm.strategy.registration.name, arm.strategy.where
        trained = [n for n, encoder in encoders.items() if any(p.requires_grad for p in encoder.parameters())]
        problems = [
            f"{where}: strategy '{name}' is fitted without gradients, and the encoder of modality '{n}' "
            f"({self.modalities[n].part.registration.name}) is trained on what is no row of numbers; use a frozen encoder there, "
            "leave the modality out with 'modalities', or leave the strategy out"
            for n in trained
        ]
        if any(p.requires_grad for p in imputer.parameters()):
            problems.append(
                f"{arm.imputer.where}: imputer '{arm.imputer_name}' is trained by gradient, and strategy '{name}' ({where}) is "
                "fitted without any; give the strategy imputers of its own that learn nothing so: imputers: [zero], mean or knn"
            )
        if arm.regularisers:
            problems.append(
                f"{where}.regularisers: a regulariser adds to a loss, and strategy '{name}' is fitted without one; leave it out"
            )
        if problems:
            raise ConfigError(problems)

    def _hidden(self, modality: ModalityPart, depth: int | None) -> dict[str, Any]:
        """The widths of as many hidden layers as a search suggests, for a trained encoder that lists them; else nothing."""
        parameter = inspect.signature(modality.part.registration.target).parameters.get("hidden")
        if depth is None or not modality.trainable or parameter is None:
            return {}
        written = modality.part.options.get("hidden", parameter.default)
        if not isinstance(written, list | tuple):
            return {}
        return {"hidden": [written[0] if written else modality.dim] * depth}

    def policy(self, arm: Arm, model: FusionModel) -> Corruption:
        """Return the hiding policy in training: the strictest that a part of the model asks for."""
        fusion, imputer = model.fusion, model.imputer
        asked = {f"strategy '{arm.title}'": Corruption(fusion.corruption, fusion.corruption_rate)}
        asked[f"imputer '{arm.imputer_name}'"] = Corruption(imputer.corruption)
        for part, regulariser in zip(arm.regularisers, model.regularisers, strict=True):
            asked[f"regulariser '{part.registration.name}'"] = Corruption(regulariser.corruption)
        return combined_policy(asked, arm.corruption, f"{arm.strategy.where}.corruption")

    def protocol(self, arms: Sequence[Arm]) -> tuple[str, ...]:
        """Say what is the same for every line and what is not, one sentence each."""
        every = list(self.modalities)
        specs = [(arm, self.fusion_spec(arm.seen(every))) for arm in arms]
        return (
            *head_lines(self.benchmark.model.head, specs),
            *epoch_lines(self.benchmark.training.epochs, specs),
            *modulation_lines(self.benchmark.training, specs),
        )

    def signature(self, arm: Arm, options: Mapping[str, Any]) -> str:
        """Arms and options with equal signatures have equal shapes and operations: they can be stacked."""
        model = self.build(arm, 0, options)
        more = {f"regulariser.{i}": r for i, r in enumerate(model.regularisers)}
        free = {
            f"{owner}.{name}" if owner else name
            for owner, module in {"": model.fusion, "imputer": model.imputer, **more}.items()
            for name in getattr(module, "hyper_names", ())
        }
        structural = {k: v for k, v in {**arm.strategy.options, **options}.items() if k not in free}
        if structural.get(f"{SHARED}.dropout"):
            structural[f"{SHARED}.dropout"] = True  # each model draws with its own
        others = {k: v for k, v in arm.identity.items() if k != "strategy"}
        return digest([arm.strategy.registration.identity, structural, others, self.policy(arm, model).policy])


def _initialised(purpose: str, build: Callable[[], Any], *, fold: int, seed: int) -> Any:
    return seeded(seed_for(f"initial {purpose}", fold=fold, seed=seed), build)
