"""MedFuse: an LSTM reads one token per modality and skips the absent ones.

Paper: Hayat, Geras, Shamout 2022, MedFuse, MLHC, PMLR 182:479-503.
Differs: any number of modalities, any of which may be absent (the official packing needs the first one); stage 1
trains all encoders on the task's own labels in one run; Adam keeps its usual second coefficient, which the
official code sets to .9. Stage 2 has the epochs that any other strategy gets; those of stage 1 come on top, and are counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from fusionbench import Batch, FusionOutput, FusionSpec, FusionStrategy, Provenance, Stage, hookimpl
from fusionbench.heads import head, lstm_cell, unimodal_aux, unimodal_heads, unimodal_logits, unimodal_losses
from fusionbench.hookspecs import Register
from fusionbench.targets import row_losses


class MaskedLSTM(nn.Module):
    """One LSTM layer whose state stays as it is at absent tokens; equals packing the present ones.

    The cell is written out because the built-in one falls back to a loop over runs when runs are stacked.
    Gate order (input, forget, cell, output), the two biases and the initial values are those of ``nn.LSTM``.

    Args:
        width: Width of a token.
        hidden: Width of the state.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.from_token = nn.Linear(width, 4 * hidden)
        self.from_state = nn.Linear(hidden, 4 * hidden)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(hidden**-0.5), hidden**-0.5)

    def forward(self, tokens: Sequence[Tensor], shown: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the last hidden and cell state, ``[batch, hidden]`` each.

        Args:
            tokens: Float ``[batch, width]``, in reading order.
            shown: Bool ``[batch]`` for each token, False = skip it.
        """
        h = c = tokens[0].new_zeros(len(tokens[0]), self.hidden)
        for token, rows in zip(tokens, shown, strict=True):
            next_h, next_c = self.step(token, h, c)
            h = torch.where(rows.unsqueeze(-1), next_h, h)
            c = torch.where(rows.unsqueeze(-1), next_c, c)
        return h, c

    def step(self, token: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Return the hidden and cell state after one token."""
        return lstm_cell(self.from_token(token) + self.from_state(h), c)


class MedFuse(FusionStrategy):
    """``z = W h + b``, h the last state of an LSTM over the usable embeddings.

    The paper searches the learning rate only, which here belongs to the training loop.

    Args:
        spec: Widths, outputs and target kind; needs one common width.
        hidden: Width of the LSTM state; None: twice the common width, the ratio of the paper.
        order: All modality names in reading order; None: the order of the data.
        pretrain: Train the encoders first, each with a head of its own.
        pretrain_epochs: Of that stage 1, on top of the benchmark's: a number, or a share of them.
        freeze_encoders: Leave the encoders as stage 1 made them; needs ``pretrain``.

    Attributes:
        head_weights: Float ``[modalities + 1]``: weight of each unimodal loss, and of the joint loss (last).

    Shapes:
        Returns logits ``[batch, num_outputs]``; with ``pretrain``, ``aux["unimodal.<name>"]`` holds the logits
        of the heads of stage 1.
    """

    uses_presence: ClassVar[bool] = True
    expected_failures: ClassVar[Mapping[str, str]] = {
        "modality_order_does_not_matter": "a recurrent network reads the modalities in a fixed order, as in the paper"
    }
    title: ClassVar[str] = "MedFuse"
    provenance: ClassVar[Provenance | None] = Provenance(
        paper="Hayat, Geras, Shamout 2022, MedFuse: Multi-modal fusion with clinical time-series data and chest X-ray "
        "images, MLHC, PMLR 182:479-503",
        equations="Section 3: LSTM fusion module, two-stage training",
        link="https://proceedings.mlr.press/v182/hayat22a.html",
        code="https://github.com/nyuad-cai/MedFuse (MIT); only its numbers are used, as test vectors",
        differs="masked state update instead of packing; any modality may be absent; stage 1 uses the task's labels; "
        "stage 1 gets half as many epochs as stage 2, on top of them",
    )
    head_weights: Tensor

    def __init__(
        self,
        spec: FusionSpec,
        hidden: int | None = None,
        order: Sequence[str] | None = None,
        pretrain: bool = True,
        pretrain_epochs: float = 0.5,
        freeze_encoders: bool = False,
    ) -> None:
        super().__init__(spec)
        if pretrain_epochs <= 0:
            raise ValueError(
                f"pretrain_epochs must be positive, found {pretrain_epochs}; pretrain: false leaves stage 1 out"
            )
        self.pretrain_epochs = pretrain_epochs
        self.order = tuple(spec.names if order is None else order)
        if sorted(self.order) != sorted(spec.names):
            raise ValueError(f"order must name each of {', '.join(spec.names)} once, found {', '.join(self.order)}")
        if freeze_encoders and not pretrain:
            raise ValueError("freeze_encoders needs pretrain: without stage 1 the encoders would never be trained")
        self.pretrain, self.freeze_encoders = pretrain, freeze_encoders
        self.lstm = MaskedLSTM(spec.width, 2 * spec.width if hidden is None else hidden)
        self.head = head(spec, self.lstm.hidden)
        self.heads = unimodal_heads(spec) if pretrain else nn.ModuleDict()
        self.register_buffer("head_weights", self._weights(unimodal=0, joint=1))

    def forward(self, batch: Batch) -> FusionOutput:
        """Read the usable embeddings in order and classify the last state."""
        hidden, _ = self.lstm([batch.completed(n) for n in self.order], [batch.usable(n) for n in self.order])
        unimodal = {name: own(batch.completed(name)) for name, own in self.heads.items()}
        return FusionOutput(self.head(hidden), unimodal_aux(unimodal))

    def loss(self, output: FusionOutput, batch: Batch, target: Tensor) -> Tensor:
        """Return the weighted sum of the unimodal losses and the joint one; stages set the weights."""
        losses = list(unimodal_losses(unimodal_logits(output.aux), batch, target, self.spec.kind).values())
        losses.append(row_losses(output.logits, target, self.spec.kind).mean())
        return self.head_weights[-len(losses) :] @ torch.stack(losses)

    def modality_logits(self, output: FusionOutput, batch: Batch) -> Mapping[str, Tensor]:
        """Return the logits of the heads of stage 1."""
        return unimodal_logits(output.aux)

    def stages(self) -> Sequence[Stage]:
        """Encoders with their own heads first, each kept from its best epoch, then everything together."""
        if not self.pretrain:
            return (Stage("train"),)
        return (
            Stage(
                "encoders",
                epochs=self.pretrain_epochs,
                overrides={"head_weights": self._weights(unimodal=1, joint=0)},
                keep=("encoder.", "project."),
                select="per_modality",
            ),
            Stage(
                "fusion",
                overrides={"head_weights": self._weights(unimodal=0, joint=1)},
                frozen=("encoder.",) if self.freeze_encoders else (),
            ),
        )

    def _weights(self, unimodal: float, joint: float) -> Tensor:
        return torch.tensor([float(unimodal)] * len(self.spec.names) + [float(joint)])


@hookimpl
def register_fusion_strategies(register: Register) -> None:
    """Register ``medfuse``."""
    register("medfuse", MedFuse)
