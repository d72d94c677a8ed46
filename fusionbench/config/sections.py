"""What a benchmark file may say: frozen models, section by section."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from fusionbench.config import bounds
from fusionbench.config.base import Alternative, Choice, Rate, Section, one_line, repeated
from fusionbench.config.expectations import Expectation
from fusionbench.config.missing import MissingnessSection
from fusionbench.errors import did_you_mean

Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]

LEAST_STEPS: Final = 100  # unless a file says another number
CEILING: Final = "ceiling"  # the line of the best possible prediction in every table
PREVALENCE: Final = "prevalence"  # the line of the share of each label among training rows, whatever a row shows
MAIN_SETTING: Final = "main"  # the settings of the file itself, beside alternatives to them
SYNTHETIC: Final = "SYNTHETIC DATA: no patient is in it"  # what every output says of data that were made up
RANDOM_WEIGHTS: Final = "RANDOM ENCODER WEIGHTS"  # how it says so of encoders, before their modalities
REFERENCES: Final = (CEILING, PREVALENCE)
"""Lines that nobody trained."""


def _told_apart(value: tuple[Choice, ...]) -> tuple[Choice, ...]:
    if not value:
        raise ValueError("must not be empty; 'zero' leaves absent modalities at zero")
    twice = repeated(c.name for c in value)
    if twice:
        raise ValueError(f"{twice} appears twice; lines of the tables are told apart by the imputer's name")
    return value


Imputers = Annotated[tuple[Choice, ...], AfterValidator(_told_apart)]


class Corruption(Section):
    """A hiding policy in training, for any strategy (modality dropout is ``bernoulli``)."""

    policy: Literal["none", "bernoulli", "uniform_subset", "partial_subset"]
    rate: Rate = 0.0


class StrategyChoice(Choice):
    """A strategy, how it is called in tables, and what it carries.

    ``modalities``: train and test it on these only, as if the record held no others; null: on all.
    """

    label: str | None = None
    imputers: Imputers | None = None
    regularisers: tuple[Choice, ...] = ()
    corruption: Corruption | None = None
    modalities: tuple[str, ...] | None = None

    @field_validator("modalities")
    @classmethod
    def _some(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and (not value or repeated(value)):
            raise ValueError("modalities must be a non-empty list without repeats; leave it out for all of them")
        return value

    @field_validator("label")
    @classmethod
    def _may_be_shown(cls, value: str | None) -> str | None:
        return None if value is None else one_line(value)

    @property
    def title(self) -> str:
        """The name shown in tables."""
        read = f" on {'+'.join(self.modalities)}" if self.modalities else ""
        return self.label or "+".join([self.name, *(r.name for r in self.regularisers)]) + read


class HeadSection(Section):
    """What turns embeddings into logits: ``linear``, ``mlp``, or ``{kind: mlp, depth: 2, width: 64}``.

    ``depth``: hidden layers of an mlp, ReLU; null: 1. ``width``: units of each; null: as many as the widest embedding.
    """

    kind: Literal["linear", "mlp"] = "linear"
    depth: int | None = Field(None, ge=1, le=bounds.MOST_DEPTH)
    width: int | None = Field(None, ge=1, le=bounds.MOST_WIDTH)

    @model_validator(mode="before")
    @classmethod
    def _bare_word(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"kind": value}
        if isinstance(value, dict) and "kind" not in value:
            raise ValueError("needs 'kind': linear, or mlp with 'depth' and 'width', for example {kind: mlp, depth: 2}")
        return value

    @model_validator(mode="after")
    def _fits_its_kind(self) -> HeadSection:
        if self.kind == "linear" and (self.depth is not None or self.width is not None):
            raise ValueError("a linear head has no hidden layers: leave 'depth' and 'width' out, or use kind: mlp")
        return self

    @property
    def layers(self) -> int:
        """Hidden layers."""
        return 0 if self.kind == "linear" else self.depth or 1


class ModelSection(Section):
    """What stands between encoders and predictions, the same for every strategy.

    ``width``: common width of the projected embeddings; null leaves each modality's own width.
    ``projection``: ``linear``, or ``mlp`` (one hidden layer of the same width, ReLU).
    ``dropout``: probability of zeroing an entry of an embedding in training, behind the projection.
    ``head``: what turns fused embeddings into logits: ``linear``, ``mlp``, or ``{kind: mlp, depth: 2, width: 64}``. Strategies
    that own their depth by definition say so (``fusionbench show NAME``); an option of a strategy that sets it wins, and the
    plan says so.
    """

    width: int | None = Field(64, ge=1, le=bounds.MOST_WIDTH)
    projection: Literal["linear", "mlp"] = "linear"
    dropout: Rate = 0.0
    head: HeadSection = HeadSection(kind="linear")


class SplitsSection(Section):
    """Patient-level folds. ``source: task`` uses the split or folds that the data come with."""

    source: Literal["hash", "task"] = "hash"
    folds: int = Field(5, ge=2, le=bounds.MOST_FOLDS)
    use: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(None, max_length=bounds.MOST_FOLDS)
    validation: float = Field(0.15, gt=0, lt=1)
    salt: str = "fusionbench"
    seeds: tuple[Whole, ...] = Field((0,), max_length=bounds.MOST_SEEDS)

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or repeated(value):
            raise ValueError("seeds must be a non-empty list without repeats")
        return value

    @model_validator(mode="after")
    def _use_exists(self) -> SplitsSection:
        if self.use is not None and (not self.use or max(self.use) >= self.folds or repeated(self.use)):
            raise ValueError(f"use must name folds from 0 to {self.folds - 1}, each once")
        return self


class TrainingSection(Section):
    """The one training loop's settings, equal for every strategy.

    ``epochs``: of the stretch that ends in the prediction; what a strategy pre-trains or estimates in stages of its own comes on
    top, and is counted (column "epochs allowed"). ``patience``: epochs without a better score until a model stops.
    ``least_steps``: optimiser steps before an epoch can be chosen as the best one, and before patience counts; the whole
    stretch where that is shorter. null: 100, or half of the stretch where that is shorter.

    ``schedule``: of the learning rate. ``constant``; ``cosine``: falls to 0 over the planned epochs, step by step; ``plateau``:
    a model's rate is halved when its score was no better for a third of ``patience``. ``warmup``: steps over which the rate
    rises to its value. ``clip``: the longest gradient of a model, Euclidean norm over all its parameters; null: any. All three
    are the same for every strategy, and hold in every stage.

    ``population`` bounds how many models are stacked; null: 16 on a CPU, on CUDA as many as free memory holds.
    ``workers``: how many populations are trained side by side on a CPU, each on one core; null: as many as there are cores
    (or as ``OMP_NUM_THREADS`` says). No result changes, to the last bit.
    ``precision``: ``bfloat16`` multiplies matrices of encoders and fusion in bfloat16 and keeps everything else in float32
    (losses, metrics, optimiser, buffers); it changes results, within rounding of 8 bits. A device without instructions for
    it computes in float32 and says so; ``precision_forced`` computes in bfloat16 there too, slowly. Results are stored under what
    was computed.
    ``features``: ``float16`` holds the embeddings of frozen encoders in half precision on the device and reads them as float32;
    it changes results, within rounding of 11 bits of each embedding. Nothing else is rounded, and the feature store is not.
    ``encoder_rows``: encoders that are not stacked (tuned networks, the fused LSTM) read at most so many rows at once. Of larger
    batches no activations are kept: they are computed again for the gradient. null: no bound. No result changes beyond rounding.

    ``graph``: on CUDA, record the step of training once and replay it: no time is lost between its many small kernels. A plugin
    that asks the device for numbers in a step cannot be recorded, and is told so. Elsewhere without effect; no result changes.
    ``record``: on a CPU, take the operators of a step down once and run the list: Python's share of the time is gone. What
    cannot be recorded runs as it is, and a line says why. No result changes beyond rounding.

    ``keep_weights`` stores trained models, so that new rates and patterns score them again instead of training. ``traces``
    records what strategies want drawn over epochs (their coefficients and weights) and how well imputers imagine hidden
    modalities, and maps the embeddings that one model of each arm imputes; it changes no result.
    """

    epochs: int = Field(50, ge=1, le=bounds.MOST_EPOCHS)
    batch_size: int = Field(128, ge=2, le=bounds.MOST_ROWS)
    optimiser: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(1e-3, gt=0, le=bounds.LARGEST_STEP)
    weight_decay: float = Field(0.01, ge=0, le=bounds.LARGEST_STEP)
    momentum: float = Field(0.9, ge=0, lt=1)
    patience: int = Field(10, ge=1, le=bounds.MOST_EPOCHS)
    least_steps: int | None = Field(None, ge=0, le=bounds.MOST_ROWS)
    schedule: Literal["constant", "cosine", "plateau"] = "constant"
    warmup: int = Field(0, ge=0, le=bounds.MOST_ROWS)
    clip: float | None = Field(None, gt=0, le=bounds.LARGEST_STEP)
    selection: Literal["metric", "loss"] = "metric"
    population: int | None = Field(None, ge=1, le=bounds.MOST_MODELS)
    workers: int | None = Field(None, ge=1, le=bounds.MOST_WORKERS)
    precision: Literal["float32", "bfloat16"] = "float32"
    precision_forced: bool = False
    features: Literal["float32", "float16"] = "float32"
    encoder_rows: int | None = Field(None, ge=1, le=bounds.MOST_ROWS)
    graph: bool = False
    record: bool = True
    keep_weights: bool = True
    traces: bool = False

    @property
    def adaptive(self) -> bool:
        """Whether the optimiser divides a gradient by its own usual size, and so divides out what scales all of it."""
        return self.optimiser == "adamw"


class FloatRange(Section):
    """A range of a tuned number."""

    low: float = Field(ge=0, le=bounds.LARGEST_STEP)
    high: float = Field(ge=0, le=bounds.LARGEST_STEP)
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> FloatRange:
        if self.low > self.high or (self.log and self.low <= 0):
            raise ValueError("a range needs low <= high, and low > 0 where log is true")
        return self


def _read_inner_folds(value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value == "auto" or (number and 1 <= value <= bounds.MOST_INNER_FOLDS and value == int(value)):
        return value if value == "auto" else int(value)
    raise ValueError(f"must be 'auto' or a whole number from 1 to {bounds.MOST_INNER_FOLDS}")


InnerFolds = Annotated[
    Literal["auto"] | Annotated[int, Field(ge=1, le=bounds.MOST_INNER_FOLDS)], BeforeValidator(_read_inner_folds)
]


class TuningSection(Section):
    """Equal budget: every strategy gets the same number of trials, on training and validation rows only.

    ``common`` is searched for every strategy: ``learning_rate``, ``weight_decay``, ``dropout`` (``model.dropout``) and
    ``encoder_depth`` (hidden layers of trained encoders that have a list ``hidden``, else of the projection),
    ``unpaired_share`` (of the training rows that lack some modality of the line, how many are trained on). ``own`` adds what
    the strategy's ``search_space`` suggests. Trials are compared by the metric; of equal ones the one with the lower validation
    loss wins, for on few rows a metric of ranks is a staircase.
    ``trials: 0`` uses the defaults of the training section.

    ``condition`` says what trials are compared by. ``ranked``: what lines are ranked by, which is ``mean`` where a benchmark has
    several conditions and ``complete`` where it has one. ``complete``: the validation score of a model trained on the record as
    it is. ``mean``: the same model's mean validation score over all conditions of the benchmark. ``each``: one study for each
    condition that models are trained under, so only where training rows lack modalities (``missingness.where`` is not ``test``).

    ``inner_folds`` says over how many splits of a fold's training and validation rows a trial is trained: its score is the mean
    over them, its epochs and seconds their sums. 1: the fold's own split alone. More: the validation parts are as large as the
    fold's own, which is the first, and hold other patients each. ``auto``: more than one where the fold's validation part holds
    few patients of the rarer class (docs/protocol.md). The winner is trained on the fold's own split in any case.

    ``untuned``: train every arm with the defaults too, and show what tuning gained; one model more for each that is tuned.

    ``prune_after``: from this share of the epochs on, a trial stops whose best validation score is below the median of what the
    trials of earlier rounds had at the same epoch. One rule for every arm; null: no trial stops for that.
    """

    trials: int = Field(0, ge=0, le=bounds.MOST_TRIALS)
    batch: int = Field(4, ge=1, le=bounds.MOST_TRIALS)
    common: dict[Literal["learning_rate", "weight_decay", "dropout", "encoder_depth", "unpaired_share"], FloatRange] = (
        Field(default_factory=dict)
    )
    own: bool = True
    condition: Literal["ranked", "complete", "mean", "each"] = "ranked"
    inner_folds: InnerFolds = 1
    untuned: bool = True
    prune_after: float | None = Field(None, gt=0, lt=1)
    storage: str | None = None

    @model_validator(mode="after")
    def _ranges_mean_something(self) -> TuningSection:
        dropout, depth = self.common.get("dropout"), self.common.get("encoder_depth")
        share = self.common.get("unpaired_share")
        if share is not None and share.high > 1:
            raise ValueError(f"common.unpaired_share is a share, from 0 to 1, found high: {share.high:g}")
        if dropout is not None and dropout.high >= 1:
            raise ValueError(f"common.dropout is a probability below 1, found high: {dropout.high:g}")
        if depth is not None and (depth.log or depth.high > bounds.MOST_DEPTH or depth.low % 1 or depth.high % 1):
            raise ValueError(
                f"common.encoder_depth is a number of hidden layers: whole numbers from 0 to {bounds.MOST_DEPTH}, not on a "
                f"log scale; found {depth.low:g} to {depth.high:g}"
            )
        return self


class EvaluationSection(Section):
    """How certain numbers are.

    ``resamples``: of patients, for metrics whose certainty nothing else tells (AUPRC, ECE, F1); 1,000 or more for a result.
    ``confidence``: of intervals. ``equivalence``: differences of the ranked score below this are of no practical use; tables of
    pairs say how probable it is that two lines lie within it. ``subsets``: also score every subset of the modalities.
    ``baseline``: the strategy that differences are taken from, as tables name it (or ``strategy / imputer``); null: the plainest
    one that reads every modality.
    """

    resamples: int = Field(1000, ge=100, le=bounds.MOST_RESAMPLES)
    confidence: float = Field(0.95, gt=0.5, lt=1)
    equivalence: float = Field(0.005, ge=0, lt=1)
    subsets: bool = True
    baseline: str | None = None


class TrackingSection(Section):
    """MLflow. ``uri: null`` is a SQLite file in the workspace. ``observers`` without ``mlflow`` logs nothing.

    ``trials``: also log every trial of tuning, as a run nested under its curve. ``predictions``: also log the prediction and
    the target of every test row, under salted ids; these are patient-level data.
    """

    uri: str | None = None
    trials: bool = False
    predictions: bool = False


class Benchmark(Section):
    """A whole benchmark file."""

    name: str
    title: Annotated[str, AfterValidator(one_line)] = ""
    question: str = ""
    expect: tuple[Expectation, ...] = ()
    task: Choice
    encoders: dict[str, Choice]
    model: ModelSection = ModelSection()
    imputers: Imputers = (Choice(name="zero"),)
    strategies: tuple[StrategyChoice, ...] = Field(min_length=1)
    missingness: MissingnessSection = MissingnessSection()
    splits: SplitsSection = SplitsSection()
    training: TrainingSection = TrainingSection()
    tuning: TuningSection = TuningSection()
    evaluation: EvaluationSection = EvaluationSection()
    robustness: tuple[Alternative, ...] = ()
    tracking: TrackingSection = TrackingSection()
    observers: tuple[Choice, ...] = (Choice(name="files"), Choice(name="html"), Choice(name="mlflow"))
    execution: Choice | None = None
    is_demo: bool = False

    @property
    def line_names(self) -> list[str]:
        """Every name that a line of the tables may be called by: ``concat``, and ``concat / mean``."""
        names = []
        for strategy in self.strategies:
            imputers = self.imputers if strategy.imputers is None else strategy.imputers
            names += [strategy.title, *(f"{strategy.title} / {imputer.name}" for imputer in imputers)]
        return names

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", value, re.ASCII):
            raise ValueError(
                f"a name begins with a letter or digit and holds letters, digits, '_', '.' and '-', found {value!r}"
            )
        if len(value) > bounds.LONGEST_NAME:
            raise ValueError(
                f"a name has at most {bounds.LONGEST_NAME} characters: it names a folder; found {len(value)}"
            )
        return value

    @field_validator("robustness")
    @classmethod
    def _settings_differ(cls, value: tuple[Alternative, ...]) -> tuple[Alternative, ...]:
        if len(value) > bounds.MOST_ALTERNATIVES:
            raise ValueError(f"{bounds.MOST_ALTERNATIVES} at most: each costs as much as the run; found {len(value)}")
        if twice := repeated([*(a.name for a in value), MAIN_SETTING] if value else ()):
            raise ValueError(f"{twice} appears twice; '{MAIN_SETTING}' is the benchmark as its other keys have it")
        return value

    @field_validator("encoders")
    @classmethod
    def _some(cls, value: dict[str, Choice]) -> dict[str, Choice]:
        if not value:
            raise ValueError("needs an encoder for each modality, for example {ehr: lstm}")
        return value

    @model_validator(mode="after")
    def _studies_have_a_condition(self) -> Benchmark:
        if self.tuning.condition == "each" and self.missingness.where == "test":
            raise ValueError(
                "tuning.condition: 'each' needs models that are trained under each condition (missingness.where: train, "
                "both or grid); with where: test use 'complete', or 'mean' over all conditions"
            )
        return self

    @model_validator(mode="after")
    def _inner_folds_differ(self) -> Benchmark:
        number, share = self.tuning.inner_folds, self.splits.validation
        if number != "auto" and number > 1 and self.splits.source == "hash" and number * share > 1 + 1e-9:
            raise ValueError(
                f"tuning.inner_folds: {number} validation parts of {share:g} of the rows each (splits.validation) would repeat "
                f"patients; at most {max(1, int(1 / share + 1e-9))} have patients of their own: use fewer, or a smaller share"
            )
        return self

    @model_validator(mode="after")
    def _baseline_is_a_line(self) -> Benchmark:
        wanted = self.evaluation.baseline
        lines = {
            s.title: [c.name for c in (self.imputers if s.imputers is None else s.imputers)] for s in self.strategies
        }
        known = [*lines, *(f"{title} / {imputer}" for title, names in lines.items() for imputer in names)]
        if wanted is not None and wanted not in known:
            raise ValueError(
                f"evaluation.baseline: no strategy of this file is called {wanted!r}{did_you_mean(wanted, known)}; it has: "
                f"{', '.join(lines)}"
            )
        return self

    @model_validator(mode="after")
    def _decay_fits_the_optimiser(self) -> Benchmark:
        searched = self.tuning.common.get("weight_decay")
        if searched is not None and self.training.optimiser == "sgd" and searched.high > bounds.MOST_COUPLED_DECAY:
            raise ValueError(
                f"tuning.common.weight_decay: sgd adds decay to the gradient, where more than {bounds.MOST_COUPLED_DECAY:g} "
                f"makes training diverge; found high: {searched.high:g}. "
                "adamw decays apart from the gradient: up to 30 makes sense there"
            )
        return self

    @field_validator("strategies")
    @classmethod
    def _titles_differ(cls, value: tuple[StrategyChoice, ...]) -> tuple[StrategyChoice, ...]:
        twice = repeated(s.title for s in value)
        if twice:
            raise ValueError(f"{twice} appears twice; give each its own 'label'")
        for title, what in zip(REFERENCES, ("the best possible prediction", "the constant prediction"), strict=True):
            if any(s.title == title for s in value):
                raise ValueError(f"'{title}' is {what} in every table; choose another 'label'")
        return value
