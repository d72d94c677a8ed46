"""From a benchmark to the work it means: arms, studies, fits, cells, each with its content address.

An *arm* is a strategy with an imputer. A *study* tunes one arm on one fold. A *fit* is one trained model
of an arm for a fold, a seed and a training condition. A *cell* is a fit scored under one condition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from torch import nn

from fusionbench.config.sections import Benchmark, Choice, StrategyChoice
from fusionbench.contract.learners import (
    Component,
    Encoder,
    FusionSpec,
    FusionStrategy,
    Imputer,
    InputSpec,
    Regulariser,
)
from fusionbench.contract.registration import Registration
from fusionbench.data.completion import Completed
from fusionbench.errors import ConfigError
from fusionbench.keys import PROTOCOL_VERSION, digest
from fusionbench.missingness.conditions import COMPLETE, Condition, condition_label
from fusionbench.missingness.corruption import Corruption, combined_policy
from fusionbench.missingness.masks import MASK_NAME
from fusionbench.missingness.subsets import is_subset, subset_conditions
from fusionbench.plugins.catalogue import Plugins
from fusionbench.plugins.names import Where, check_names, check_plugins
from fusionbench.seeding import seed_for
from fusionbench.training.model import FusionModel, projection, seeded


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
class Blueprint:
    """How to build any arm's model for this benchmark's data."""

    modalities: Mapping[str, ModalityPart]
    benchmark: Benchmark
    spec_outputs: int
    kind: Any

    def fusion_spec(self, names: Sequence[str], latent_dim: int = 0) -> FusionSpec:
        """Return what imputers and strategies are built for."""
        width = self.benchmark.model.width
        dims = {n: m.dim if width is None else width for n, m in self.modalities.items() if n in names}
        return FusionSpec(dims, self.spec_outputs, self.kind, latent_dim)

    def input_imputer(self, arm: Arm) -> Imputer | None:
        """Return the arm's imputer where it works on encoder inputs, not fitted yet; else None."""
        imputer: Imputer = arm.imputer.build(self.fusion_spec(list(self.modalities)))
        return imputer if imputer.level == "input" else None

    def build(self, arm: Arm, seed: int, options: Mapping[str, Any]) -> FusionModel:
        """Build one model; each part is initialised under its own seed, equal for every arm that has it."""
        seen = arm.seen(list(self.modalities))
        imputer, fusion, regularisers = self._learners(arm, seed, options, seen)
        if fusion.reads is not None:  # what nobody reads is neither encoded nor imputed
            imputer, fusion, regularisers = self._learners(arm, seed, options, list(fusion.reads))
        names = [n for n in seen if fusion.reads is None or n in fusion.reads]
        encoders: dict[str, Encoder] = {}
        project: dict[str, nn.Module] = {}
        for name in names:
            m = self.modalities[name]
            if m.trainable:
                encoders[name] = _initialised(f"encoder {name}", seed, lambda m=m: m.part.build(m.spec))
            project[name] = _initialised(f"project {name}", seed, lambda m=m: self._projection(m))
        columns = [list(self.modalities).index(n) for n in names]
        training = self.benchmark.training
        return FusionModel(
            encoders, project, imputer, fusion, regularisers, columns, training.precision, training.encoder_rows
        )

    def _learners(
        self, arm: Arm, seed: int, options: Mapping[str, Any], names: Sequence[str]
    ) -> tuple[Imputer, FusionStrategy, list[Regulariser]]:
        chosen = {owner: options_of(owner, options) for owner in arm.parts}
        imputer: Imputer = _initialised(
            "imputer", seed, lambda: arm.imputer.build(self.fusion_spec(names), **chosen["imputer"])
        )
        if imputer.level == "input":  # has done its work before the model sees a row
            imputer = Completed(imputer.spec)
        spec = self.fusion_spec(names, imputer.latent_dim)
        fusion: FusionStrategy = _initialised("fusion", seed, lambda: arm.strategy.build(spec, **chosen[""]))
        regularisers: list[Regulariser] = [
            _initialised(f"regulariser {i}", seed, lambda r=r, i=i: r.build(spec, **chosen[f"regulariser.{i}"]))
            for i, r in enumerate(arm.regularisers)
        ]
        return imputer, fusion, regularisers

    def _projection(self, modality: ModalityPart) -> nn.Module:
        return projection(modality.dim, self.benchmark.model.width, self.benchmark.model.projection)

    def policy(self, arm: Arm, model: FusionModel) -> Corruption:
        """Return the hiding policy in training: the strictest that a part of the model asks for."""
        fusion, imputer = model.fusion, model.imputer
        asked = {f"strategy '{arm.title}'": Corruption(fusion.corruption, fusion.corruption_rate)}
        asked[f"imputer '{arm.imputer_name}'"] = Corruption(imputer.corruption)
        for part, regulariser in zip(arm.regularisers, model.regularisers, strict=True):
            asked[f"regulariser '{part.registration.name}'"] = Corruption(regulariser.corruption)
        return combined_policy(asked, arm.corruption, f"{arm.strategy.where}.corruption")

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
        others = {k: v for k, v in arm.identity.items() if k != "strategy"}
        return digest([arm.strategy.registration.identity, structural, others, self.policy(arm, model).policy])


def _initialised(purpose: str, seed: int, build: Any) -> Any:
    return seeded(seed_for(f"initial {purpose}", seed=seed), build)


# --------------------------------------------------------------------------------------------
# names


@dataclass(frozen=True)
class Resolved:
    """Every name of a benchmark, looked up and loaded."""

    task: Part
    encoders: Mapping[str, Part]
    arms: tuple[Arm, ...]
    mechanism: Part
    observers: tuple[Part, ...]


def resolve(benchmark: Benchmark, plugins: Plugins, where: Where) -> Resolved:
    """Load every plugin that the benchmark names.

    Raises:
        ConfigError: Names are unknown, plugins do not load, or have no such options; all of them at once.
    """
    problems = check_names(benchmark, plugins, where) or check_plugins(benchmark, plugins, where)
    if problems:
        raise ConfigError(problems)

    def part(kind: str, choice: Choice, *location: Any) -> Part:
        place = where(location).removesuffix(": ")
        return Part(plugins.get(kind, choice.name), choice.options, place)

    def arms_of(i: int, s: StrategyChoice) -> list[Arm]:
        imputers = (
            [("strategies", i, "imputers", j) for j in range(len(s.imputers))]
            if s.imputers is not None
            else [("imputers", j) for j in range(len(benchmark.imputers))]
        )
        chosen = benchmark.imputers if s.imputers is None else s.imputers
        hiding = None if s.corruption is None else Corruption(s.corruption.policy, s.corruption.rate)
        regularisers = tuple(
            part("regularisers", r, "strategies", i, "regularisers", j) for j, r in enumerate(s.regularisers)
        )
        strategy = part("strategies", s, "strategies", i)
        return [
            Arm(s.title, strategy, part("imputers", c, *location), regularisers, hiding, s.modalities)
            for c, location in zip(chosen, imputers, strict=True)
        ]

    return Resolved(
        task=part("tasks", benchmark.task, "task"),
        encoders={m: part("encoders", c, "encoders", m) for m, c in benchmark.encoders.items()},
        arms=tuple(a for i, s in enumerate(benchmark.strategies) for a in arms_of(i, s)),
        mechanism=part("missingness", benchmark.missingness.mechanism, "missingness", "mechanism"),
        observers=tuple(part("observers", c, "observers", i) for i, c in enumerate(benchmark.observers)),
    )


# --------------------------------------------------------------------------------------------
# work


@dataclass(frozen=True)
class FitJob:
    """One model to train, and the conditions it is scored under.

    Args:
        arm: What is trained.
        fold: Number of the fold.
        seed: Number of the repetition.
        condition: What the training and validation rows lack.
        study: Key of the study that chooses its hyper-parameters.
        key: Content address of the trained model.
        scored: What the test rows lack, each time it is scored.
        labels: For each of these, the name of its predictions in the store; it holds the digest of the mask.
    """

    arm: Arm
    fold: int
    seed: int
    condition: Condition
    study: str
    key: str
    scored: tuple[Condition, ...]
    labels: tuple[str, ...]

    @property
    def points(self) -> tuple[Condition, ...]:
        """The conditions that lie on degradation curves: all of ``scored`` but the subsets of modalities."""
        return tuple(c for c in self.scored if not is_subset(c))


@dataclass(frozen=True)
class StudyJob:
    """One arm to tune on one fold; ``condition`` is what training and validation rows lack."""

    arm: Arm
    fold: int
    key: str
    condition: Condition = COMPLETE


def conditions(benchmark: Benchmark) -> list[Condition]:
    """Return every test or training condition, complete data first; rate 0 is the same for all patterns."""
    rates = benchmark.missingness.rates
    cells = [Condition(p, r) for p in benchmark.missingness.patterns for r in rates if r > 0]
    return ([COMPLETE] if 0 in rates else []) + cells


def schedule(benchmark: Benchmark, names: Sequence[str]) -> list[tuple[Condition, tuple[Condition, ...]]]:
    """Return training conditions, each with the conditions its models are scored under.

    Models that training showed everything are scored under every subset of the modalities too.
    """
    every = tuple(conditions(benchmark))
    subsets = tuple(subset_conditions(names)) if benchmark.evaluation.subsets else ()
    where = benchmark.missingness.where
    if where == "test":
        return [(COMPLETE, every + subsets)]
    scored = {c: {"train": (COMPLETE,), "both": (c,), "grid": every}[where] for c in every}
    return [(c, scored[c] + (subsets if c == COMPLETE else ())) for c in every]


def common_key(benchmark: Benchmark, data_digest: str, modalities: Mapping[str, ModalityPart]) -> dict[str, Any]:
    """Return the part of every key that all arms share."""
    # no result depends on these beyond rounding
    elsewhere = {"population", "encoder_rows", "graph", "keep_weights", "traces"}
    training = benchmark.training.model_dump(mode="json", exclude=elsewhere)
    for name in ("precision", "features"):
        if training[name] == "float32":  # results from before there was a choice stay valid
            del training[name]
    return {
        "protocol": PROTOCOL_VERSION,
        "data": data_digest,
        "encoders": {n: m.identity for n, m in modalities.items()},
        "model": benchmark.model.model_dump(mode="json"),
        "training": training,
        "splits": benchmark.splits.model_dump(mode="json", exclude={"use", "seeds"}),
    }


def make_jobs(
    benchmark: Benchmark,
    resolved: Resolved,
    common: Mapping[str, Any],
    folds: Sequence[int],
    mask: Callable[[Condition, int], str],
    names: Sequence[str],
) -> tuple[list[StudyJob], list[FitJob]]:
    """Return every study and every fit of the benchmark, in a fixed order.

    Args:
        benchmark: The configuration.
        resolved: Its plugins.
        common: What all keys share.
        folds: Numbers of the folds.
        mask: Digest of who is present under a condition, for a seed. What is hidden decides a result, however
            it was drawn; so mechanisms, files and code that hide alike share results, and others do not.
        names: The modalities.
    """
    scheduled = schedule(benchmark, names)
    elsewhere = {"storage", "condition"} | ({"prune_after"} if benchmark.tuning.prune_after is None else set())
    tuning = benchmark.tuning.model_dump(mode="json", exclude=elsewhere)
    budget = tuning if benchmark.tuning.trials else None
    tuned_with = benchmark.splits.seeds[0]
    each = benchmark.tuning.condition == "each" and benchmark.tuning.trials > 0

    def compared_by(condition: Condition) -> list[Any]:
        """What a study of models that are trained under a condition looks at, beyond the record as it is."""
        if benchmark.tuning.condition == "mean" and benchmark.tuning.trials:
            return ["mean", *[mask(c, tuned_with) for c in conditions(benchmark)]]
        return ["each", mask(condition, tuned_with)] if each and condition != COMPLETE else []

    studies: list[StudyJob] = []
    fits: list[FitJob] = []
    for arm in resolved.arms:
        searched = arm.searched if benchmark.tuning.trials and benchmark.tuning.own else []
        for fold in folds:
            common_to_fold = [common, arm.identity, budget, fold, tuned_with, *searched]
            keys = {c: digest(common_to_fold + compared_by(c)) for c, _ in scheduled}
            by_key = {keys[c]: c if each else COMPLETE for c, _ in scheduled}
            studies += [StudyJob(arm, fold, key, c) for key, c in by_key.items()]
            for seed in benchmark.splits.seeds:
                for condition, scored in scheduled:
                    study = keys[condition]
                    key = digest([study, seed, None if condition == COMPLETE else mask(condition, seed)])
                    labels = tuple(f"{condition_label(c)}#{mask(c, seed)[:MASK_NAME]}" for c in scored)
                    fits.append(FitJob(arm, fold, seed, condition, study, key, scored, labels))
    return studies, fits
