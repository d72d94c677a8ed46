"""DAFT: each embedding is scaled and shifted by what the others say, then all are classified side by side.

Papers: Wolf et al. 2022, DAFT: A universal module to interweave tabular data and 3D images in CNNs, NeuroImage;
after Perez et al. 2018, FiLM: Visual Reasoning with a General Conditioning Layer, AAAI.
Differs: two-sided, on pooled embeddings, for any number of modalities; a modality that is alone is left as it is, and
an embedding is added to its transform, as by the residual block around the paper's.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from fusionbench import Batch, FusionSpec, FusionStrategy, Provenance, Trial, hookimpl
from fusionbench.heads import head
from fusionbench.hookspecs import Register

Activation = Literal["none", "sigmoid", "tanh"]
Condition = Literal["sum", "mean"]


class AffineTransform(nn.Module):
    """``scale * F + shift`` with ``[scale; shift] = W2 relu(W1 [squeeze(F); auxiliary])``, without biases.

    Args:
        channels: Channels of the features that are transformed.
        auxiliary: Width of the vector that decides, with the features' own mean.
        bottleneck: Hidden units.
        activation: What the scale passes through: ``none``, ``sigmoid`` or ``tanh``.

    Shapes:
        Takes ``[batch, channels, ...]`` and ``[batch, auxiliary]``, returns the first's shape. Further axes (space,
        time) are averaged in the squeeze and share their channel's scale and shift.
    """

    def __init__(self, channels: int, auxiliary: int, bottleneck: int = 7, activation: Activation = "none") -> None:
        super().__init__()
        self.activation = activation
        self.squeeze = nn.Linear(channels + auxiliary, bottleneck, bias=False)
        self.excite = nn.Linear(bottleneck, 2 * channels, bias=False)

    def forward(self, features: Tensor, auxiliary: Tensor) -> Tensor:
        """Scale and shift."""
        pooled = features.reshape(*features.shape[:2], -1).mean(dim=-1)
        code = torch.relu(self.squeeze(torch.cat([pooled, auxiliary], dim=-1)))
        scale, shift = self.excite(code).chunk(2, dim=-1)
        if self.activation != "none":
            scale = torch.sigmoid(scale) if self.activation == "sigmoid" else torch.tanh(scale)
        ones = [1] * (features.ndim - 2)
        changed: Tensor = scale.reshape(*scale.shape, *ones) * features + shift.reshape(*shift.shape, *ones)
        return changed


class Daft(FusionStrategy):
    """``z = W [f_1; ...; f_M] + b``, ``f_m = u_m + scale_m * u_m + shift_m`` decided by u_m and the others' sum.

    Args:
        spec: Widths, outputs and target kind; needs one common width.
        bottleneck: Hidden units of each transform.
        activation: What the scales pass through. ``none``: nothing; ``sigmoid``: the logistic function; ``tanh``: the
            hyperbolic tangent.
        condition: What stands for the others. ``sum``: their sum; ``mean``: their mean.
        residual: Add u_m to f_m, as the residual block does in which the paper places the transform; without it a
            transform whose hidden units are all inactive erases the embedding.

    Shapes:
        Returns logits ``[batch, num_outputs]``. f_m is u_m where no other modality is usable, and zero where m is not.
    """

    uses_presence: ClassVar[bool] = True
    title: ClassVar[str] = "DAFT"
    provenance: ClassVar[Provenance | None] = Provenance(
        paper="Wolf, Pölsterl, Wachinger 2022, DAFT: A universal module to interweave tabular data and 3D images in "
        "CNNs, NeuroImage; after Perez et al. 2018, FiLM, AAAI",
        equations="DAFT 1-3, with the map reduced to its mean",
        link="https://doi.org/10.1016/j.neuroimage.2022.119505",
        code="https://github.com/ai-med/DAFT; only its numbers are used, as test vectors",
        differs="every modality is transformed, not the image alone; any number of modalities, conditioned on the sum "
        "of the others; absent ones take no part; the embedding is added to its transform; a linear head on all of them",
    )

    def __init__(
        self,
        spec: FusionSpec,
        bottleneck: int = 7,
        activation: Activation = "none",
        condition: Condition = "sum",
        residual: bool = True,
    ) -> None:
        super().__init__(spec)
        if bottleneck < 1:
            raise ValueError(f"bottleneck must be 1 or more, found {bottleneck}")
        self.condition, self.residual = condition, residual
        width, conditioned = spec.width, spec.names if len(spec.names) > 1 else ()
        self.transforms = nn.ModuleDict({n: AffineTransform(width, width, bottleneck, activation) for n in conditioned})
        self.head = head(spec, width * len(spec.names))

    def forward(self, batch: Batch) -> Tensor:
        """Transform and classify."""
        logits: Tensor = self.head(torch.cat([self.transformed(batch, name) for name in self.spec.names], dim=-1))
        return logits

    def transformed(self, batch: Batch, name: str) -> Tensor:
        """Return f of one modality, ``[batch, width]``."""
        own, others = batch.completed(name), [n for n in self.spec.names if n != name]
        if not others:
            return own
        count = torch.stack([batch.usable(n) for n in others]).sum(dim=0)[:, None]
        context = torch.stack([batch.completed(n) for n in others]).sum(dim=0)
        if self.condition == "mean":
            context = context / count.clamp_min(1)
        changed: Tensor = self.transforms[name](own, context)
        changed = changed + own if self.residual else changed
        # selected, not multiplied: the shift would make an absent modality look present
        return torch.where(batch.usable(name)[:, None], torch.where(count > 0, changed, own), 0)

    @classmethod
    def search_space(cls, trial: Trial) -> dict[str, Any]:
        """Search around the bottleneck of the code."""
        return {"bottleneck": trial.suggest_categorical("bottleneck", [4, 7, 16])}


@hookimpl
def register_fusion_strategies(register: Register) -> None:
    """Register ``daft``."""
    register("daft", Daft)
