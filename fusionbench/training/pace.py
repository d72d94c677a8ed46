"""How fast models learn from step to step: schedule and warm-up of learning rates, and the longest gradient.

One for every strategy. The numbers are those of ``torch.optim.lr_scheduler`` and ``torch.nn.utils.clip_grad_norm_``, tested
against them; here each model of a population has its own, and none depends on its company.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from fusionbench.config.sections import TrainingSection

HALF: Final = 0.5
"""What ``plateau`` makes of a learning rate."""


def plateau_patience(settings: TrainingSection) -> int:
    """Return after how many epochs without a better score the rate is halved: a third of what ends the training."""
    return max(1, settings.patience // 3)


class Pace:
    """Factors of the learning rates of a population, for each step.

    Args:
        settings: Schedule, warm-up, patience.
        models: How many.
        steps: Of the whole stretch, which cosine ends at.
    """

    def __init__(self, settings: TrainingSection, models: int, steps: int) -> None:
        self._schedule, self._warmup, self._steps = settings.schedule, settings.warmup, steps
        self._patience = plateau_patience(settings)
        self._step = 0
        self._best, self._waited, self._halved = [-math.inf] * models, [0] * models, [1.0] * models

    @property
    def varies(self) -> bool:
        """Whether a rate ever differs from the member's own."""
        return self._schedule != "constant" or self._warmup > 0

    def factors(self) -> list[float]:
        """Return, for each model, what its learning rate is multiplied by in the coming step."""
        common = self._common()
        return [common * own for own in self._halved]

    def _common(self) -> float:
        if self._step < self._warmup:
            return (self._step + 1) / (self._warmup + 1)
        if self._schedule != "cosine":
            return 1.0
        done = (self._step - self._warmup) / max(self._steps - self._warmup, 1)
        return (1 + math.cos(math.pi * min(done, 1.0))) / 2

    def advance(self) -> None:
        """A step was taken."""
        self._step += 1

    def judge(self, scores: Sequence[float]) -> None:
        """Hear the scores of an epoch, higher is better; NaN is never better."""
        for model, score in enumerate(scores if self._schedule == "plateau" else ()):
            if score > self._best[model]:
                self._best[model], self._waited[model] = score, 0
                continue
            self._waited[model] += 1
            if self._waited[model] > self._patience:
                self._halved[model], self._waited[model] = self._halved[model] * HALF, 0


def clip_factors(gradients: Mapping[str, Tensor], longest: float) -> Tensor:
    """Return ``[models]``: what the gradients of each model are multiplied by, so that together they are no longer than that.

    Each model's norm is taken of its own numbers alone, one tensor after the other: a sum over stacked rows may be divided
    differently in other company.

    Args:
        gradients: By name, ``[models, ...]``.
        longest: Euclidean norm over all parameters of a model.
    """
    each = zip(*(gradient.unbind() for gradient in gradients.values()), strict=True)
    norms = torch.stack([get_total_norm(own) for own in each])
    return (longest / (norms + 1e-6)).clamp(max=1.0)


def of_models(factors: Tensor, like: Tensor) -> Tensor:
    """Return factors ``[models]`` in the shape that multiplies ``[models, ...]``."""
    return factors.to(like.dtype).reshape(-1, *[1] * (like.ndim - 1))
