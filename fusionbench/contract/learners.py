"""The plugin kinds that hold tensors: encoders, imputers, fusion strategies, regularisers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from fusionbench.contract.batch import Batch, FusionOutput, FusionSpec
from fusionbench.contract.options import Configured
from fusionbench.contract.stages import Stage, TrainingClock, Trial
from fusionbench.targets import row_losses

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CorruptionPolicy = Literal["none", "bernoulli", "uniform_subset", "partial_subset"]


@dataclass(frozen=True)
class Provenance:
    """Where a method comes from, and what differs here.

    Args:
        paper: Authors, year, title, venue.
        equations: Which equations of it are implemented.
        link: A stable address of the paper.
        code: The official code, and its licence.
        differs: What differs from the paper or its code, and why.
        key: What LaTeX tables cite it by; empty: the first author's surname and the year, as ``hayat2022``.
    """

    paper: str
    equations: str = ""
    link: str = ""
    code: str = ""
    differs: str = ""
    key: str = ""


class Component(Configured, nn.Module):
    """Common ground of encoders, imputers and strategies.

    Attributes:
        title: What readers call it, for example ``SE-Gate``; empty: the name under which it is registered.
    """

    stackable: bool = True
    title: ClassVar[str] = ""
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
        proposed_for: Kinds of input for which it is taken where nobody names an encoder: by ``fusionbench.fit`` and ``init``.
        weights: ``none`` (nothing learned elsewhere is expected), ``pretrained`` or ``random``
            (random where pre-trained ones are usual; the outputs are then marked).
    """

    accepts: ClassVar[frozenset[str]] = frozenset()
    proposed_for: ClassVar[frozenset[str]] = frozenset()
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

    def remarks(self, values: NDArray[Any] | Sequence[str]) -> list[str]:
        """Say what this encoder leaves out of the raw rows of a modality, one sentence each; they stand among a run's notes.

        Called once with all available rows, beside :meth:`prepare`. Nothing about one row belongs in it.
        """
        return []

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


def start_head_at(head: nn.Module, logits: Tensor) -> None:
    """Set the bias of the last ``nn.Linear`` of a head that has as many outputs as there are logits, if there is one."""
    layers = [m for m in head.modules() if isinstance(m, nn.Linear) and m.out_features == len(logits)]
    if layers and layers[-1].bias is not None:
        layers[-1].bias.copy_(logits)


class FusionStrategy(Learner):
    """Embeddings to logits.

    Args:
        spec: Widths, outputs and target kind; also kept as ``self.spec``.

    Attributes:
        uses_presence: True when the prediction looks at who is present beyond zero filling.
        control: True for a plain method that every other is held against; one that does not beat it is marked.
        plain: True for the plainest way to do it: differences are taken from the first such line, unless a file names another.
        reads: Names of the modalities it looks at, when it does not look at all; the others are not encoded.
        corruption: Hiding policy in training: ``none``, ``bernoulli``, ``uniform_subset``, ``partial_subset``.
        corruption_rate: Probability of hiding under ``bernoulli``.
        modulates: What :meth:`modulate` changes: the ``gradient``, or the optimiser's ``update``. ``auto``: the update under an
            adaptive optimiser (AdamW), which divides a factor of the gradient out again; else the gradient.
        rescales: Whether :meth:`modulate` mostly multiplies by numbers. ``gradient`` under an adaptive optimiser is then
            refused; False, of one that turns gradients, allows it.
        gradient_noise: True when :meth:`modulate` needs standard normal noise shaped like the gradients.
        owns_depth: Why its depth does not follow ``spec.head``, as a sentence; None: its heads are those of
            :mod:`fusionbench.heads`, as deep as the benchmark says, the same for every strategy.
    """

    uses_presence: ClassVar[bool] = False
    uses_zero_input: ClassVar[bool] = False
    control: ClassVar[bool] = False
    plain: ClassVar[bool] = False
    reads: tuple[str, ...] | None = None
    corruption: CorruptionPolicy = "none"
    corruption_rate: float = 0.0
    modulates: Literal["auto", "gradient", "update"] = "auto"
    rescales: bool = True
    gradient_noise: bool = False
    owns_depth: ClassVar[str | None] = None

    def __init__(self, spec: FusionSpec) -> None:
        super().__init__()
        self.spec = spec

    def forward(self, batch: Batch) -> Tensor | FusionOutput:
        """Predict. ``batch`` holds no labels; see :class:`Batch` for how to read absent rows.

        Returns:
            Float ``[batch, num_outputs]`` logits, alone or in a :class:`FusionOutput`.
        """
        raise NotImplementedError

    def start_at(self, logits: Tensor) -> None:
        """Set the biases of output layers so that an untrained model says what is usual, before it has seen a row.

        Called once for each model, without gradients, before training. The default looks at the attributes whose names end in
        ``head`` or ``heads`` (a module, or a ``ModuleDict`` or ``ModuleList`` of them), and sets the bias of the last
        ``nn.Linear`` in each that has as many outputs as there are logits. Override it where logits come about in another
        way: added up over modalities, multiplied, from a bias parameter.

        Args:
            logits: Float64 ``[num_outputs]``, finite: those of the prevalence among the model's own training rows.
        """
        for name, child in self.named_children():
            if name.endswith(("head", "heads")):
                heads = list(child.children()) if isinstance(child, nn.ModuleDict | nn.ModuleList) else [child]
                for head in heads:
                    start_head_at(head, logits)

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

    def wants_modulation(self, clock: TrainingClock) -> bool | Tensor:
        """Whether :meth:`modulate` changes anything in the coming epoch; asked only where it is overridden.

        In an epoch in which no model of a population wants it, :meth:`modulate` is not called, and what only it reads is
        not computed. While another model wants it, it is called for all: it must then change nothing by itself.

        Args:
            clock: Epochs completed, and planned.

        Returns:
            A bool, or a 0-dim bool tensor where a buffer decides. The default is True.
        """
        return True

    def wants_noise(self, clock: TrainingClock) -> bool | Tensor:
        """Whether :meth:`modulate` reads its noise in the coming epoch; in others none is drawn, and zeros are given.

        Noise has generators of its own for each epoch, so that leaving some out moves no other number.

        Args:
            clock: Epochs completed, and planned.

        Returns:
            A bool, or a 0-dim bool tensor where a buffer decides. The default is ``gradient_noise``.
        """
        return self.gradient_noise

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


class FittedStrategy(FusionStrategy):
    """Features to logits, fitted to all training rows at once, without gradients: scikit-learn, XGBoost, TabPFN and the like.

    It reads what frozen encoders give, without projection, standardised with training rows, and an imputer that learns
    nothing by gradient may fill what is absent. Folds, masks, hiding in training, trials of tuning and scoring are those of
    every strategy.
    Each model is fitted alone, on the CPU, with one thread.

    What was fitted are buffers: :meth:`fit` returns their new values, of any shape, and :meth:`decide` reads them. They
    are kept with the result, as plain tensors, so that new conditions score the model without fitting it again.
    """

    stackable = False
    uses_presence: ClassVar[bool] = True
    owns_depth: ClassVar[str | None] = "it is fitted without gradients, and no head stands behind it"

    @property
    def num_features(self) -> int:
        """Columns of what is fitted and read: embeddings of every modality, then one presence flag for each."""
        return sum(self.spec.dims.values()) + len(self.spec.dims)

    def inputs(self, batch: Batch) -> Tensor:
        """Return float64 ``[batch, num_features]``: embeddings in modality order, then 0/1 flags.

        What is absent and not imputed is zeros. A flag is 1 where the modality is present: what an imputer
        of embeddings filled counts as absent, what one of inputs filled before as present.
        """
        columns = [batch.completed(name) for name in self.spec.names]
        flags = [batch.present[name].unsqueeze(-1).to(columns[0].dtype) for name in self.spec.names]
        return torch.cat([*columns, *flags], dim=-1).double()

    def fit(self, features: Tensor, target: Tensor, seed: int) -> Mapping[str, Tensor]:
        """Learn from all training rows; return new values of own buffers by name, and change nothing else.

        A label, or a class, may be the same in all rows, or in none.

        Args:
            features: Float64 ``[rows, num_features]`` on the CPU, as :meth:`inputs` gives them.
            target: Int64 ``[rows]``, or ``[rows, labels]`` for multi-label.
            seed: Decides whatever is drawn; differs by fold and seed of the benchmark.
        """
        raise NotImplementedError

    def decide(self, features: Tensor) -> Tensor:
        """Return logits ``[rows, num_outputs]`` (log-odds, or log class scores) from own buffers.

        Before :meth:`fit` it may return any that are finite.

        Args:
            features: Float64 ``[rows, num_features]``.
        """
        raise NotImplementedError

    def forward(self, batch: Batch) -> Tensor:
        """Predict."""
        first = batch.features[self.spec.names[0]]
        return self.decide(self.inputs(batch)).to(first.dtype)


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
