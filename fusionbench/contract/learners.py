"""The contract: what a task, an encoder, an imputer, a fusion strategy and a missingness mechanism are.

Data flows one way::

    Task -> Dataset -> Encoder -> Batch -> Imputer -> Batch -> FusionStrategy -> logits

Plugins are pure functions of tensors. The training loop owns data order, optimiser, randomness,
model selection, and the stacking of many runs into one program; to be stackable a plugin

* does not branch on tensor values, call ``.item()`` or index with a boolean mask,
* keeps what is not trained (prototypes, weights between heads) in buffers,
* declares hyper-parameters that may differ between stacked runs with :meth:`Component.hyper`,
* takes its randomness from the loop (:class:`fusionbench.noise.Dropout`, ``noise`` of ``modulate``).
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from fusionbench.targets import TargetKind, row_losses

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fusionbench.progress import Progress

InputKind = Literal["series", "image", "text", "vector"]
CorruptionPolicy = Literal["none", "bernoulli", "uniform_subset", "partial_subset"]


# --------------------------------------------------------------------------------------------
# data


@dataclass(frozen=True)
class Modality:
    """One named input stream, all rows.

    Args:
        kind: ``series`` (float ``[rows, steps, channels]``), ``image`` (uint8 ``[rows, height, width]``),
            ``text`` (a sequence of strings) or ``vector`` (float ``[rows, width]``).
        values: Content; undefined but finite (an empty string for text) where the modality is not available.
        lengths: For series of differing length: int64 ``[rows]``, valid steps, at least 1. None: all steps.
        standardise: Bool ``[channels]``; True for columns that are standardised with training rows.
            None: no column.
        columns: Names of the channels, where they have any.
    """

    kind: InputKind
    values: NDArray[Any] | Sequence[str]
    lengths: NDArray[np.int64] | None = None
    standardise: NDArray[np.bool_] | None = None
    columns: tuple[str, ...] = ()


class FunnelStep(NamedTuple):
    """One line of the cohort funnel."""

    step: str
    rows: int
    note: str = ""


@dataclass(frozen=True)
class Dataset:
    """What a task prepares: every row, before any split.

    Args:
        modalities: Content by name; the order is the modality order everywhere.
        available: Bool ``[rows, modalities]``, True = the record holds it. Every row has one True at least.
        target: Int64 ``[rows]``, or ``[rows, labels]`` for multi-label.
        kind: What the target means.
        outputs: Names of the labels or classes; one name for binary.
        groups: Int64 ``[rows]``; rows of one patient share a number. A running number, never an identifier.
        digest: Hash of everything that decided the content.
        synthetic: True when no real patient is in it; every output then says so.
        metric: The number by which models are selected and ranked.
        split: Text ``[rows]`` of ``train``, ``validation``, ``test`` where the source fixes a split.
        folds: Int64 ``[rows]`` where the source fixes folds; -1 = never a test row of a fold.
        ceiling: For synthetic data: float ``[rows, 2 ** modalities]``, P(target = 1 | the subset of
            modalities whose bits are set), bit m for modality m; column 0 is the prevalence.
        funnel: How many rows each rule of the cohort left.
        warnings: What a reader of the numbers must know.
        description: One sentence, for the report and MLflow.
    """

    modalities: Mapping[str, Modality]
    available: NDArray[np.bool_]
    target: NDArray[np.int64]
    kind: TargetKind
    outputs: tuple[str, ...]
    groups: NDArray[np.int64]
    digest: str
    synthetic: bool = False
    metric: str = "auroc"
    split: NDArray[np.str_] | None = None
    folds: NDArray[np.int64] | None = None
    ceiling: NDArray[np.float64] | None = None
    funnel: tuple[FunnelStep, ...] = ()
    warnings: tuple[str, ...] = ()
    description: str = ""

    def __len__(self) -> int:
        return len(self.target)


@dataclass(frozen=True)
class Findings:
    """What a task found in its data, for ``data check``: counts and names of columns and files, never a value of a row.

    Args:
        lines: To be printed. A line that begins with ``problem:`` would stop a run, one with ``warning:`` should be read.
        draw: Draws a picture of the data to each of the paths it is given; the ending decides the format.
    """

    lines: Sequence[str]
    draw: Callable[[Sequence[Path]], None] | None = None


class Task(ABC):
    """A prediction problem: finds its files, checks them, and makes a :class:`Dataset`.

    The constructor takes the task's options from the benchmark file as keyword arguments and
    must be cheap: files are opened in :meth:`prepare`.

    Attributes:
        source: A name for what it reads: ``data prepare SOURCE`` prepares every task ``SOURCE_...`` that has it.
    """

    modality_names: ClassVar[tuple[str, ...]] = ()
    source: ClassVar[str] = ""

    @abstractmethod
    def prepare(self, cache: Path, progress: Progress) -> Dataset:
        """Return the data, reusing what an earlier call left in ``cache``.

        Args:
            cache: A folder for this kind of task; entries are named by content and complete when named.
            progress: Where long steps report.

        Raises:
            DataError: Files are missing or malformed, or no row is left.
        """

    def check(self, cache: Path, progress: Progress) -> Findings | None:
        """Say what is in the files and what is wrong with them, as far as it can be told; do not raise for bad data.

        The default gives None: the prepared data set is described.

        Args:
            cache: As in :meth:`prepare`.
            progress: Where long steps report.
        """
        return None

    @classmethod
    def recognises(cls, folder: Path) -> Mapping[str, Any] | None:
        """Return the options that read what lies in ``folder``, None where it does not look like this task's files."""
        return None


# --------------------------------------------------------------------------------------------
# what a model sees


@dataclass(frozen=True)
class Batch:
    """Embeddings of one batch and what is known about who has what. Labels are never in it.

    Args:
        features: Float ``[batch, dim]`` by modality. Content is undefined, but finite, in rows that
            are neither present nor imputed: read it through :meth:`observed` or :meth:`completed`.
        present: Bool ``[batch]`` by modality, True = observed and shown to the model.
        available: Bool ``[batch]`` by modality, True = the record has it. Wider than ``present`` while
            training hides modalities on purpose; the difference is what an imputer may learn from.
        imputed: Bool ``[batch]`` by modality, True = an imputer has filled the row.
        zero_input: Float ``[dim]`` by modality: the embedding of an all-zero input.
        latents: Float ``[batch, width]``: the imputer's code of the sample, where it has one.
        lengths: Int64 ``[batch]`` by modality: valid steps of encoder inputs, where rows differ in them. For imputers of
            level ``input`` only; what lies behind the valid steps is undefined.
        extras: What an imputer needs again in its own ``loss``, by name; nobody else reads it.
    """

    features: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    available: Mapping[str, Tensor] = field(default_factory=dict)
    imputed: Mapping[str, Tensor] = field(default_factory=dict)
    zero_input: Mapping[str, Tensor] = field(default_factory=dict)
    latents: Tensor | None = None
    lengths: Mapping[str, Tensor] = field(default_factory=dict)
    extras: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Modality names, in order."""
        return tuple(self.features)

    def usable(self, name: str) -> Tensor:
        """Bool ``[batch]``: present, or filled by an imputer."""
        if name in self.imputed:
            return self.present[name] | self.imputed[name]
        return self.present[name]

    def usable_mask(self) -> Tensor:
        """Bool ``[batch, modalities]``: :meth:`usable` of every modality, in order."""
        return torch.stack([self.usable(name) for name in self.features], dim=1)

    def observed(self, name: str) -> Tensor:
        """Features where present, exact zeros elsewhere."""
        return _select(self.present[name], self.features[name])

    def completed(self, name: str) -> Tensor:
        """Features where present or imputed, exact zeros elsewhere."""
        return _select(self.usable(name), self.features[name])

    def filled(self, fills: Mapping[str, Tensor]) -> Batch:
        """Return the batch with absent rows filled and marked imputed.

        Gradients reach a fill through filled rows only, and the features through present ones only.

        Args:
            fills: By modality, ``[dim]`` for every row alike, or ``[batch, dim]``. Rows that were imputed
                before count as absent and are filled anew.
        """
        rows = {n: _broadcast(self.present[n], self.features[n]) for n in fills}
        features = {n: torch.where(rows[n], self.features[n], fill) for n, fill in fills.items()}
        absent = {n: ~self.present[n] for n in fills}
        return replace(self, features={**self.features, **features}, imputed={**self.imputed, **absent})

    def only(self, *names: str) -> Batch:
        """Return the batch with every modality but ``names`` marked absent and nothing imputed."""
        hidden = {n: p if n in names else torch.zeros_like(p) for n, p in self.present.items()}
        # what an imputer made of the whole row would tell about what is hidden now
        return replace(self, present=hidden, imputed={}, latents=None, extras={})


def _select(rows: Tensor, values: Tensor) -> Tensor:
    # NaN * 0 is NaN: absent rows are selected away, not multiplied
    return torch.where(_broadcast(rows, values), values, 0)


def _broadcast(rows: Tensor, values: Tensor) -> Tensor:
    return rows.reshape(-1, *[1] * (values.ndim - 1))


class FusionOutput(NamedTuple):
    """What a strategy may return instead of bare logits.

    Args:
        logits: Float ``[batch, outputs]``: the prediction (logits, or log class scores).
        aux: Tensors that ``loss``, ``modulate`` or ``statistics`` need, by name.
    """

    logits: Tensor
    aux: Mapping[str, Tensor] = {}


@dataclass(frozen=True)
class FusionSpec:
    """What an imputer or a strategy is built for.

    Args:
        dims: Width of each modality's embedding, by name, in modality order.
        num_outputs: Number of logits (1 for binary).
        kind: What the target means.
        latent_dim: Width of ``Batch.latents``; 0 where the imputer has none.
    """

    dims: Mapping[str, int]
    num_outputs: int
    kind: TargetKind
    latent_dim: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Modality names, in order."""
        return tuple(self.dims)

    @property
    def width(self) -> int:
        """The common width; raises ValueError when the modalities differ."""
        widths = set(self.dims.values())
        if len(widths) != 1:
            raise ValueError(f"modalities must share one width, found {dict(self.dims)}; set model.width")
        return widths.pop()


@dataclass(frozen=True)
class InputSpec:
    """What an encoder is built for.

    Args:
        kind: The modality's kind.
        shape: Shape of one row; empty for text.
        standardise: By column of the last axis, True = a measurement that is standardised with training rows,
            False = an indicator; empty where the modality does not say.
    """

    kind: InputKind
    shape: tuple[int, ...] = ()
    standardise: tuple[bool, ...] = ()


@dataclass(frozen=True)
class Provenance:
    """Where a method comes from, and what differs here.

    Args:
        paper: Authors, year, title, venue.
        equations: Which equations of it are implemented.
        link: A stable address of the paper.
        code: The official code, and its licence.
        differs: What differs from the paper or its code, and why.
    """

    paper: str
    equations: str = ""
    link: str = ""
    code: str = ""
    differs: str = ""


# --------------------------------------------------------------------------------------------
# the life of a training run, as plugins see it


class TrainingClock(NamedTuple):
    """How far training has come: epochs completed (0 before the first), and planned."""

    completed: int
    planned: int

    @property
    def fraction(self) -> float:
        """Completed share of the planned epochs, 0 to 1."""
        return self.completed / max(self.planned, 1)


class SplitLosses(NamedTuple):
    """Losses of one replica over whole splits, in evaluation mode, before and after a stage.

    Each is a mapping from the names of ``aux`` entries of :meth:`FusionStrategy.head_losses` to float. The errors are
    standard errors of the mean change from before to after, rows paired; infinite where fewer than two rows count.
    """

    train_before: Mapping[str, float]
    train_after: Mapping[str, float]
    holdout_before: Mapping[str, float]
    holdout_after: Mapping[str, float]
    train_error: Mapping[str, float] = {}
    holdout_error: Mapping[str, float] = {}


@dataclass(frozen=True)
class Stage:
    """One stretch of training with its own state.

    Args:
        name: For logs and the ledger.
        epochs: How many; a float below or equal to 1 is a share of the benchmark's epochs.
        overrides: Values for the strategy's buffers, set when the stage begins.
        replicas: When given, the stage is run once for each of these further overrides, side by side.
        holdout: Share of the training rows kept out of this stage, stratified by target.
        frozen: Parameter prefixes that this stage does not train (``encoder.``, ``fusion.heads.``, ...).
        keep: Prefixes of the parameters that the next stage inherits, each from its best epoch;
            the others return to their initial values. None: all are kept.
        resumes: Go on where the trained stage before this one stopped: from its last epoch, with its optimiser, its
            patience and its best epoch so far, as if they were one. False: from its best epoch, with a new optimiser.
        select: Which validation score picks the best epoch: ``joint`` (the prediction) or
            ``per_modality`` (each modality's own head, which picks that modality's encoder).
        finish: Called with one :class:`SplitLosses` per replica; returns overrides for the stages after it.
    """

    name: str
    epochs: int | float = 1.0
    overrides: Mapping[str, Tensor] = field(default_factory=dict)
    replicas: Sequence[Mapping[str, Tensor]] = ()
    holdout: float = 0.0
    frozen: tuple[str, ...] = ()
    keep: tuple[str, ...] | None = None
    resumes: bool = False
    select: Literal["joint", "per_modality"] = "joint"
    finish: Callable[[Sequence[SplitLosses]], Mapping[str, Tensor]] | None = None


class Trial(Protocol):
    """The part of an Optuna trial that a search space needs."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Suggest a float in ``[low, high]``."""

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """Suggest an integer in ``[low, high]``."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Suggest one of ``choices``."""


# --------------------------------------------------------------------------------------------
# the plugin kinds that hold tensors


class Component(nn.Module):
    """Common ground of encoders, imputers and strategies."""

    stackable: bool = True
    provenance: ClassVar[Provenance | None] = None

    def hyper(self, name: str, value: float) -> None:
        """Register ``self.<name>`` as a 0-dim float buffer, so that stacked runs may differ in it.

        Use the name of the constructor argument: the runner then stacks runs that differ only there.
        """
        self.register_buffer(name, torch.tensor(float(value)))
        self.__dict__.setdefault("hyper_names", set()).add(name)

    @classmethod
    def search_space(cls, trial: Trial) -> dict[str, Any]:
        """Suggest constructor arguments; the default searches nothing."""
        return {}


class Encoder(Component):
    """One modality's raw input to an embedding.

    Args:
        spec: Kind and per-sample shape of the modality.

    Attributes:
        accepts: The input kinds it can read.
        frozen: True when no gradient reaches it; it then runs once, through the feature store.
        output_dim: Width of the embedding.
        weights: ``none`` (nothing learned elsewhere is expected), ``pretrained`` or ``random``
            (random where pre-trained ones are usual; the outputs are then marked).
    """

    accepts: ClassVar[frozenset[str]] = frozenset()
    frozen: bool = False
    output_dim: int = 0
    weights: Literal["none", "pretrained", "random"] = "none"

    def stackable_on(self, device: torch.device) -> bool:
        """Whether many runs are trained as one stack on a device, instead of one after the other.

        The default is ``stackable``. Override it where one way is faster here and the other there.
        """
        return self.stackable

    def prepare(self, values: NDArray[Any] | Sequence[str]) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
        """Turn a modality's raw rows into an array that :meth:`forward` reads, with optional lengths.

        The default passes arrays through. Text encoders tokenise here.
        """
        if isinstance(values, Sequence):
            raise TypeError(f"{type(self).__name__} cannot read text; override prepare()")
        return values, None

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode.

        Args:
            inputs: ``[batch, ...]`` as :meth:`prepare` made it (standardised where the modality says so).
            lengths: Int64 ``[batch]``, valid steps of each row, or None when all are valid.

        Returns:
            Float ``[batch, output_dim]``, or ``[batch, length, output_dim]`` for token outputs.
        """
        raise NotImplementedError

    def fingerprint(self) -> str:
        """Hash of what decides the output: class, settings in ``extra_repr``, weights and buffers."""
        digest = hashlib.sha256(f"{type(self).__module__}.{type(self).__qualname__}({self.extra_repr()})".encode())
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


class Predict(Protocol):
    """Imputes and fuses a batch in evaluation mode."""

    def __call__(self, batch: Batch) -> FusionOutput:
        """Return the prediction for ``batch``."""


class Learner(Component):
    """What imputers and strategies share: statistics over the training rows, and state."""

    def statistics(self, output: FusionOutput, batch: Batch, target: Tensor, predict: Predict) -> Mapping[str, Tensor]:
        """Sums over one batch of training rows, in evaluation mode with nothing hidden on purpose.

        The loop adds them over the training split after every epoch, and once before the first.
        Overriding this switches the pass on.

        Args:
            output: The prediction for the batch.
            batch: The completed batch: features of every available modality are the true ones.
            target: Labels of the batch.
            predict: Imputes and fuses another view of the rows, for example ``batch.only("ehr")``.
        """
        return {}

    def update(self, statistics: Mapping[str, Tensor], clock: TrainingClock) -> Mapping[str, Tensor]:
        """Turn summed statistics into new values of own buffers, by buffer name. Must not mutate."""
        return {}

    def traces(self, output: FusionOutput, batch: Batch, target: Tensor) -> Mapping[str, Tensor]:
        """What decides the course of training, to be drawn over epochs; it decides nothing itself.

        Called with ``training.traces: true`` after every epoch, in evaluation mode, on the batches that the epoch
        had and with the buffers that it had; the loop records the mean over batches.

        Args:
            output: The prediction for the batch.
            batch: The completed batch, with what training hid of it hidden.
            target: Labels of the batch.

        Returns:
            0-dim tensors by ``<what>.<which>``: one picture for each ``what``, one line for each ``which`` (mostly a
            modality). They must come from the function that training uses.
        """
        return {}


class Imputer(Learner):
    """Fills absent features.

    Args:
        spec: Widths, outputs and target kind.

    Attributes:
        level: ``embedding``: part of the trained model. ``input``: fitted once with :meth:`fit`, and applied
            to encoder inputs before training and before scoring.
        uses_zero_input: True when it needs ``Batch.zero_input``.
        corruption: The hiding policy it needs in training to have anything to learn from.
        latent_dim: Width of the code it leaves in ``Batch.latents``; 0 for none.
    """

    level: ClassVar[Literal["embedding", "input"]] = "embedding"
    uses_zero_input: ClassVar[bool] = False
    corruption: CorruptionPolicy = "none"
    latent_dim: int = 0

    def __init__(self, spec: FusionSpec) -> None:
        super().__init__()
        self.spec = spec

    def fit(self, batch: Batch) -> None:
        """Learn from all training rows at once; called only when ``level`` is ``input``."""

    def forward(self, batch: Batch) -> Batch:
        """Return the batch with absent features filled and marked in ``imputed``."""
        raise NotImplementedError

    def loss(self, completed: Batch, task_loss: Tensor) -> Tensor:
        """Return the total loss, given the completed batch and the strategy's own loss (both scalar)."""
        return task_loss


class FusionStrategy(Learner):
    """Embeddings to logits.

    Args:
        spec: Widths, outputs and target kind; also kept as ``self.spec``.

    Attributes:
        uses_presence: True when the prediction looks at who is present beyond zero filling.
        reads: Names of the modalities it looks at, when it does not look at all; the others are not encoded.
        corruption: Hiding policy in training: ``none``, ``bernoulli``, ``uniform_subset``, ``partial_subset``.
        corruption_rate: Probability of hiding under ``bernoulli``.
        modulates: What :meth:`modulate` changes: the ``gradient``, or the optimiser's ``update``.
        gradient_noise: True when :meth:`modulate` needs standard normal noise shaped like the gradients.
    """

    uses_presence: ClassVar[bool] = False
    uses_zero_input: ClassVar[bool] = False
    reads: tuple[str, ...] | None = None
    corruption: CorruptionPolicy = "none"
    corruption_rate: float = 0.0
    modulates: Literal["gradient", "update"] = "gradient"
    gradient_noise: bool = False

    def __init__(self, spec: FusionSpec) -> None:
        super().__init__()
        self.spec = spec

    def forward(self, batch: Batch) -> Tensor | FusionOutput:
        """Predict. ``batch`` holds no labels; see :class:`Batch` for how to read absent rows.

        Returns:
            Float ``[batch, num_outputs]`` logits, alone or in a :class:`FusionOutput`.
        """
        raise NotImplementedError

    def loss(self, output: FusionOutput, batch: Batch, target: Tensor) -> Tensor:
        """Return the scalar training loss; the default is the mean task loss of the prediction."""
        return row_losses(output.logits, target, self.spec.kind).mean()

    def modulate(
        self,
        gradients: Mapping[str, Tensor],
        output: FusionOutput,
        batch: Batch,
        target: Tensor,
        noise: Mapping[str, Tensor],
    ) -> Mapping[str, Tensor]:
        """Change gradients (or updates) after backward; overriding this switches it on.

        Args:
            gradients: By parameter name: ``encoder.<modality>.*``, ``project.<modality>.*``,
                ``imputer.*``, ``fusion.*``.
            output: What forward returned for this batch.
            batch: The completed batch.
            target: Labels of the batch.
            noise: Standard normal, shaped like ``gradients``; empty unless ``gradient_noise``.
        """
        return gradients

    def head_losses(self, output: FusionOutput, batch: Batch, target: Tensor) -> Mapping[str, Tensor]:
        """Row losses ``[batch]`` of each head with the rows that count ``[batch]``, for :class:`Stage`.

        Entries come in pairs: ``name`` and ``name.rows``. The default has one head, ``joint``.
        """
        losses = row_losses(output.logits, target, self.spec.kind)
        return {"joint": losses, "joint.rows": torch.ones_like(losses)}

    def modality_logits(self, output: FusionOutput, batch: Batch) -> Mapping[str, Tensor]:
        """Logits of each modality's own head, for stages that select per modality. Default: none."""
        return {}

    def stages(self) -> Sequence[Stage]:
        """How training proceeds; the default is one stage over all epochs."""
        return (Stage("train"),)


class Regulariser(Learner):
    """An addition to the training loss that any strategy can carry; it takes no part in prediction.

    Args:
        spec: Widths, outputs and target kind; also kept as ``self.spec``.

    Attributes:
        corruption: The hiding policy it needs in training to have anything to act on.
    """

    corruption: CorruptionPolicy = "none"

    def __init__(self, spec: FusionSpec) -> None:
        super().__init__()
        self.spec = spec

    def loss(self, output: FusionOutput, batch: Batch, target: Tensor) -> Tensor:
        """Return the scalar to add to the loss, already weighted."""
        raise NotImplementedError


# --------------------------------------------------------------------------------------------
# missingness


@dataclass(frozen=True)
class MissingnessContext:
    """What a mechanism may look at. Row order is the dataset's.

    Args:
        available: Bool ``[rows, modalities]``.
        names: Modality names, in column order.
        target: Labels, for mechanisms that are not at random (MNAR).
        summaries: Float ``[rows, modalities]``: one standardised number for each observed modality
            (its first principal component), for mechanisms at random (MAR); 0 where not available.
    """

    available: NDArray[np.bool_]
    names: tuple[str, ...]
    target: NDArray[np.int64]
    summaries: NDArray[np.float64] | None = None


class Missingness(ABC):
    """Decides in which order rows lose a modality.

    The core turns thresholds into masks: a modality is hidden at a rate when its threshold is below it.
    Masks are therefore nested (hidden at .2 implies hidden at .4), and are the same for every strategy.

    Attributes:
        uses_summaries: True when it reads ``MissingnessContext.summaries``.
    """

    uses_summaries: ClassVar[bool] = False

    @abstractmethod
    def thresholds(self, context: MissingnessContext, generator: np.random.Generator) -> NDArray[np.float64]:
        """Return ``[rows, modalities]`` in [0, 1): the rate at which each cell begins to be hidden.

        Over rows, each column should be close to uniform, so that a rate means the share hidden.
        """
