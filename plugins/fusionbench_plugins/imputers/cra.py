"""Cascade residual autoencoder: absent embeddings are imagined from the present ones.

Papers: Tran et al. 2017 (CVPR) for the cascade; Zhao, Li, Jin 2021, Missing Modality Imagination Network
(MMIN, ACL) for the forward and backward networks; Wu et al. 2025, OmniFuse, Information Fusion 117:102890,
eqs. 2-8 and 18, whose imputer this is.

With the embeddings of all modalities side by side, ``v``, and encodings of zero inputs where one is not shown::

    delta_k = dec_k(enc_k(v + sum_{j<k} delta_j))        latents: all enc_k(...), k = 1..K
    v'      = v + sum_k delta_k                          fills the slots that are not shown

Slots that are known but hidden on purpose are the targets; the loop hides some in training. Two readings:

* ``missing_only`` (the figure): forward loss on the target slots; the backward network (``cra_cycle``) sees v'
  in the target slots only and must return what was shown.
* ``full_vector`` (eqs. 2, 3, 6 and the MMIN code): the forward target holds true embeddings in target slots and
  zero-input encodings in the others; the backward network acts on all of v' and must return v.

    loss = forward + lambda_1 backward + lambda_2 task

Differs: eq. 7 compares v' with v, which would reward the identity; it is read as v-hat of eq. 3. Targets are
gradient-stopped embeddings of the current encoders. Slots that the record does not have never enter a loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from fusionbench import Batch, FusionSpec, Imputer, Provenance, Trial, hookimpl
from fusionbench.hookspecs import Register
from fusionbench.types import CorruptionPolicy

Targets = Literal["missing_only", "full_vector"]
Reduction = Literal["mean", "sum"]


class CascadeShape(NamedTuple):
    """The shape of a cascade.

    Args:
        width: Width of the vector.
        layers: Widths of the encoder's layers, the last being the latent's; the decoder mirrors them.
        blocks: Number of autoencoders.
        transition: Append a two-layer network to the sum, as the MMIN code does.
    """

    width: int
    layers: tuple[int, ...]
    blocks: int
    transition: bool = False


class Cascade(nn.Module):
    """Residual autoencoders in a row, each correcting what the ones before it left."""

    def __init__(self, shape: CascadeShape) -> None:
        super().__init__()
        width, blocks = shape.width, range(shape.blocks)
        down = (width, *shape.layers)
        self.encoders = nn.ModuleList(_layers(down, nn.LeakyReLU) for _ in blocks)  # slope .01, as in MMIN
        self.decoders = nn.ModuleList(_layers(down[::-1], nn.ReLU) for _ in blocks)
        self.transition = _layers((width, width, width), nn.ReLU) if shape.transition else nn.Identity()

    def forward(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reconstruction ``[batch, width]`` and the latents of all blocks ``[batch, blocks * latent]``."""
        current, codes = vector, []
        for encode, decode in zip(self.encoders, self.decoders, strict=True):
            codes.append(encode(current))
            current = current + decode(codes[-1])
        reconstruction: Tensor = self.transition(current)
        return reconstruction, torch.cat(codes, dim=-1)


def _layers(widths: Sequence[int], activation: type[nn.Module]) -> nn.Sequential:
    """Linear layers with an activation between them, none after the last."""
    modules = [m for a, b in pairwise(widths) for m in (nn.Linear(a, b), activation())]
    return nn.Sequential(*modules[:-1])


class Cra(Imputer):
    """Forward imagination only.

    Args:
        spec: Widths, outputs and target kind; widths may differ.
        blocks: Autoencoders in the cascade.
        layers: Widths of the encoder's layers, the last being the latent's; None: the widest embedding, and half.
        targets: What must be imagined. ``missing_only``: the slots that were hidden though known; ``full_vector``: those,
            and the zero-input encodings in the other slots.
        reduction: Of squared errors. ``mean``: over counted entries; ``sum``: for each row, averaged over the rows that
            have any (the norm in the paper).
        lambda_2: Weight of the strategy's own loss.
        transition: Append a two-layer network to the sum, as the MMIN code does.
        corruption: Hiding policy in training; without any there is nothing to learn from.

    Shapes:
        Leaves ``latents`` ``[batch, blocks * latent]``; marks every absent row imputed.
    """

    uses_zero_input: ClassVar[bool] = True
    provenance: ClassVar[Provenance | None] = Provenance(
        paper="Wu et al. 2025, OmniFuse, Information Fusion 117:102890; after Zhao, Li, Jin 2021, MMIN, ACL",
        equations="OmniFuse 2-5, 18",
        link="https://aclanthology.org/2021.acl-long.203",
        code="https://github.com/AIM3-RUC/MMIN (MIT; its numbers are test vectors, nothing copied)",
        differs="layer widths are ours (not reported); no transition network; known-but-hidden slots only",
    )
    lambda_2: Tensor

    def __init__(
        self,
        spec: FusionSpec,
        blocks: int = 5,
        layers: Sequence[int] | None = None,
        targets: Targets = "missing_only",
        reduction: Reduction = "mean",
        lambda_2: float = 10.0,
        transition: bool = False,
        corruption: CorruptionPolicy = "uniform_subset",
    ) -> None:
        super().__init__(spec)
        widest = max(spec.dims.values())
        layers = (widest, max(1, widest // 2)) if layers is None else tuple(layers)
        if blocks < 1 or not layers or min(layers) < 1:
            raise ValueError(f"blocks and layers must be positive, found blocks={blocks}, layers={list(layers)}")
        self.targets: Targets = targets
        self.reduction: Reduction = reduction
        self.corruption = corruption
        self.latent_dim = blocks * layers[-1]
        self.hyper("lambda_2", lambda_2)
        self.shape = CascadeShape(sum(spec.dims.values()), layers, blocks, transition)
        self.onward = Cascade(self.shape)

    def forward(self, batch: Batch) -> Batch:
        """Fill what is not present, and leave the latents and what :meth:`loss` needs."""
        features = self._side_by_side(batch.features)
        shown = torch.where(self._entries(batch.present), features, self._side_by_side(batch.zero_input))
        imagined, latents = self.onward(shown)
        pieces = imagined.split(list(self.spec.dims.values()), dim=-1)
        completed = batch.filled(dict(zip(self.spec.names, pieces, strict=True)))
        # the completed batch no longer has the true embeddings of hidden slots: they are the targets
        known = torch.where(self._entries(batch.available or batch.present), features, 0).detach()
        extras = {"cra.shown": shown, "cra.imagined": imagined, "cra.known": known}
        return replace(completed, latents=latents, extras={**batch.extras, **extras})

    def loss(self, completed: Batch, task_loss: Tensor) -> Tensor:
        """Eq. 18 without the regulariser: the forward loss, and the strategy's own."""
        return self.forward_loss(completed) + self.lambda_2 * task_loss

    def forward_loss(self, completed: Batch) -> Tensor:
        """Squared error of the imagined embeddings, scalar."""
        imagined, known = completed.extras["cra.imagined"], completed.extras["cra.known"]
        kept, target = self._kept_and_target(completed)
        if self.targets == "missing_only":
            return self._error(imagined, known, target)
        goal = torch.where(target, known, self._side_by_side(completed.zero_input).detach())
        return self._error(imagined, goal, _with_target(kept | target, target))

    def _kept_and_target(self, completed: Batch) -> tuple[Tensor, Tensor]:
        """Bool ``[batch, sum of dims]``: entries that were shown, and entries hidden though known."""
        kept = self._entries(completed.present)
        return kept, self._entries(completed.available or completed.present) & ~kept

    def _error(self, value: Tensor, goal: Tensor, counted: Tensor) -> Tensor:
        """Squared error over counted entries; zero where there is none."""
        total = torch.where(counted, (value - goal).square(), 0).sum()
        number = counted.sum() if self.reduction == "mean" else counted.any(dim=-1).sum()
        return total / number.clamp_min(1)

    def _entries(self, rows: Mapping[str, Tensor]) -> Tensor:
        """Bool ``[batch, sum of dims]`` from bool ``[batch]`` by modality."""
        return torch.cat([rows[n].unsqueeze(-1).expand(-1, d) for n, d in self.spec.dims.items()], dim=-1)

    def _side_by_side(self, vectors: Mapping[str, Tensor]) -> Tensor:
        return torch.cat([vectors[n] for n in self.spec.names], dim=-1)

    @classmethod
    def search_space(cls, trial: Trial) -> dict[str, Any]:
        """The weight of the task, around the paper's 10."""
        return {"lambda_2": trial.suggest_float("lambda_2", 1.0, 30.0, log=True)}


def _with_target(entries: Tensor, target: Tensor) -> Tensor:
    """Entries of the rows that have a target."""
    return entries & target.any(dim=-1, keepdim=True)


class CraCycle(Cra):
    """Forward imagination, and a second network that must find the way back; the second only trains the first.

    Args:
        spec: Widths, outputs and target kind; widths may differ.
        blocks: Autoencoders in each cascade.
        layers: Widths of the encoder's layers, the last being the latent's; None: the widest embedding, and half.
        targets: What must be imagined, and returned. ``missing_only``: the slots that were hidden though known, and from
            them alone what was shown; ``full_vector``: every slot, both ways.
        reduction: Of squared errors. ``mean``: over counted entries; ``sum``: for each row, averaged over the rows that
            have any (the norm in the paper).
        lambda_1: Weight of the backward loss.
        lambda_2: Weight of the strategy's own loss.
        transition: Append a two-layer network to each sum.
        corruption: Hiding policy in training.
    """

    provenance: ClassVar[Provenance | None] = Provenance(
        paper="Wu et al. 2025, OmniFuse, Information Fusion 117:102890; after Zhao, Li, Jin 2021, MMIN, ACL",
        equations="OmniFuse 2-8, 18",
        link="https://aclanthology.org/2021.acl-long.203",
        code="https://github.com/AIM3-RUC/MMIN (MIT; its numbers are test vectors, nothing copied)",
        differs="as 'cra'; eq. 7 is read as v-hat; the backward input is masked, or copying would solve it",
    )
    lambda_1: Tensor

    def __init__(
        self,
        spec: FusionSpec,
        blocks: int = 5,
        layers: Sequence[int] | None = None,
        targets: Targets = "missing_only",
        reduction: Reduction = "mean",
        lambda_1: float = 1.0,
        lambda_2: float = 10.0,
        transition: bool = False,
        corruption: CorruptionPolicy = "uniform_subset",
    ) -> None:
        super().__init__(spec, blocks, layers, targets, reduction, lambda_2, transition, corruption)
        self.hyper("lambda_1", lambda_1)
        self.back = Cascade(self.shape)

    def loss(self, completed: Batch, task_loss: Tensor) -> Tensor:
        """Eq. 18 without the regulariser: forward, backward, and the strategy's own loss."""
        return super().loss(completed, task_loss) + self.lambda_1 * self.backward_loss(completed)

    def backward_loss(self, completed: Batch) -> Tensor:
        """Squared error of what the backward network returns from the imagined embeddings, scalar."""
        shown, imagined = completed.extras["cra.shown"], completed.extras["cra.imagined"]
        kept, target = self._kept_and_target(completed)
        if self.targets == "missing_only":
            # unmasked, the network could copy the slots that it must return
            seen = torch.where(target, imagined, self._side_by_side(completed.zero_input))
            return self._error(self.back(seen)[0], shown.detach(), _with_target(kept, target))
        return self._error(self.back(imagined)[0], shown.detach(), _with_target(kept | target, target))

    @classmethod
    def search_space(cls, trial: Trial) -> dict[str, Any]:
        """Both weights, around the paper's 1 and 10."""
        return {"lambda_1": trial.suggest_float("lambda_1", 0.1, 10.0, log=True), **super().search_space(trial)}


@hookimpl
def register_imputers(register: Register) -> None:
    """Register ``cra`` and ``cra_cycle``."""
    register("cra", Cra)
    register("cra_cycle", CraCycle)
