"""Early stopping of models that are trained together: best scores, best epochs, the states they had, who goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

State = Mapping[str, Tensor]


class Verdict(NamedTuple):
    """What came of one model.

    Args:
        score: Its best score, higher is better; -inf where no epoch could be scored.
        epoch: The epoch of that score, from 1; 0: none.
        diverged_in: The epoch in which its loss was not finite, from 1; 0: it always was.
        unscored: Which of the judged groups never had a score; None: all had one.
    """

    score: float
    epoch: int
    diverged_in: int
    unscored: int | None


class EarlyStopping:
    """Keeps each model at its best epoch, and stops those that wait too long for a better one.

    Nothing here knows a model: tensors in, tensors out, so that it is as it reads. Where a stage is judged by several
    scores (the prediction, and each modality's own head), every tensor of the state is picked by the one of its group.

    Args:
        state: Parameters and buffers before the first epoch, ``[models, ...]`` each; copies are kept.
        patience: Epochs without a better score in any group until a model stops; counted from the first that can be chosen.
        first: The first epoch that can be chosen, from 1; a score before it says how a model begins, not how well it does.
        groups: By name of a tensor, which score picks it; those that are not there are picked by score 0.
    """

    def __init__(self, state: State, patience: int, groups: Mapping[str, int] | None = None, *, first: int = 1) -> None:
        some = next(iter(state.values()))
        size, device = len(some), some.device
        self.patience, self.groups, self.first = patience, dict(groups or {}), first
        self.best_state = {n: t.detach().clone() for n, t in state.items()}
        self.best = torch.full((size, max(self.groups.values(), default=0) + 1), -torch.inf, device=device)
        self.best_epoch = torch.zeros(self.best.shape, dtype=torch.int64, device=device)
        self.active = torch.ones(size, dtype=torch.bool, device=device)
        self.diverged_in = torch.zeros(size, dtype=torch.int64, device=device)

    def go_on_from(self, previous: EarlyStopping) -> None:
        """Take over what another one has seen: best scores, epochs and states, and who has stopped."""
        self.best, self.best_epoch, self.best_state = previous.best, previous.best_epoch, previous.best_state
        self.active, self.diverged_in = previous.active, previous.diverged_in

    def lose(self, losses: Tensor, epoch: int) -> None:
        """Note which active models had a loss that is not finite; ``judge`` stops them.

        Args:
            losses: Float ``[models]``, of the epoch.
            epoch: From 1.
        """
        lost = self.active & ~torch.isfinite(losses)
        self.diverged_in = torch.where(lost, epoch, self.diverged_in)

    def judge(self, scores: Tensor, epoch: int, state: State) -> None:
        """Keep the state of every model that is better than before, and stop those that waited long enough.

        Args:
            scores: Float ``[models, groups]``, higher is better; NaN is never better.
            epoch: From 1.
            state: As it was judged; it has every tensor of the first one.
        """
        self.active &= self.diverged_in == 0
        scores = torch.where(self.active[:, None] & (epoch >= self.first), scores, -torch.inf)
        better = scores > self.best
        self.best = torch.where(better, scores, self.best)
        self.best_epoch = torch.where(better, epoch, self.best_epoch)
        with torch.no_grad():
            for name, kept in self.best_state.items():
                chosen = better[:, self.groups.get(name, 0)].reshape(-1, *[1] * (kept.ndim - 1))
                self.best_state[name] = torch.where(chosen, state[name], kept)
        waited = epoch - self.best_epoch.max(dim=1).values.clamp_min(self.first - 1)
        self.active &= waited < self.patience

    def stop(self, model: int) -> None:
        """Stop one model for a reason of the caller's; it keeps its best epoch."""
        self.active[model] = False

    @property
    def running(self) -> list[bool]:
        """Who goes on, as the host knows it; asks the device."""
        found: list[bool] = self.active.tolist()
        return found

    def verdicts(self) -> list[Verdict]:
        """Return what came of every model."""
        found = zip(self.best.tolist(), self.best_epoch.tolist(), self.diverged_in.tolist(), strict=True)
        return [Verdict(b[0], e[0], lost, e.index(0) if 0 in e else None) for b, e, lost in found]
