"""How a stage's epochs are judged: scores on validation rows, of the prediction and where asked of each modality's own head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fusionbench.config.sections import TrainingSection
from fusionbench.contract.stages import Stage
from fusionbench.metrics import scores as metrics
from fusionbench.targets import TargetKind, probabilities, row_losses
from fusionbench.training.members import Member, MemberRows
from fusionbench.training.population import Gathered, Population
from fusionbench.training.prediction import bounded


class Validation:
    """Scores a population on each member's validation rows.

    Args:
        population: The models.
        members: With the rows that judge each.
        stage: Whether each modality's own head is judged too.
        settings: By metric or by loss.
        metric: A metric of :data:`fusionbench.metrics.scores.METRICS`.
    """

    def __init__(
        self, population: Population, members: Sequence[Member], stage: Stage, settings: TrainingSection, metric: str
    ) -> None:
        self._population, self.metric = population, metric
        self._by_loss = settings.selection == "loss"
        self.held = MemberRows(members, [m.validation for m in members])
        # rows that every model has are gathered once for all epochs, where all standardise alike
        self._alike = bool((self.held.rows == self.held.rows[:1]).all())
        self._gathered: dict[int, dict[str, Gathered]] = {}
        heads = population.template.modalities if stage.select == "per_modality" else []
        self._judged = ["joint", *heads]
        self.losses = torch.full((population.size,), torch.nan)
        """Mean loss of each model's prediction, ``[models]``, as it was scored last."""

    @property
    def groups(self) -> dict[str, int]:
        """Which score picks each tensor of the population's state: 0 the prediction, m + 1 the head of modality m."""
        if len(self._judged) == 1:
            return {}
        parts = ("encoder", "project")
        own = {f"{part}.{n}.": i for i, n in enumerate(self._judged[1:], 1) for part in parts}
        names = (*self._population.parameters, *self._population.buffers)
        return {n: next((i for prefix, i in own.items() if n.startswith(prefix)), 0) for n in names}

    def described(self, group: int) -> str:
        """Name the rows that a score is of, for messages."""
        return "validation rows" + (f" that have {self._judged[group]}" if group else "")

    def scores(self) -> Tensor:
        """Return scores ``[models, groups]``, higher is better, NaN where one is undefined; leave the losses beside them."""
        target = self._population.table.target[self.held.rows]
        logits = self._logits()
        self.losses = _mean_losses(logits["joint"], target, self._counted("joint"), self._population.table.kind)
        return torch.stack([self._score(logits[n], target, self._counted(n)) for n in self._judged], dim=1)

    def _counted(self, name: str) -> Tensor:
        if name == "joint":
            return self.held.counted
        return self.held.counted & self.held.present[..., self._population.table.names.index(name)]

    def _logits(self) -> dict[str, Tensor]:
        parts: list[dict[str, Tensor]] = []
        with self._population.evaluating():
            for part, (rows, present) in enumerate(bounded(self.held.rows, self.held.present)):
                view = self._population.encode(self._gather(part, rows), present, present)
                alone = self._population.each("predict_each", view) if len(self._judged) > 1 else {}
                parts.append({**alone, "joint": self._population.predict(view)})
        return {name: torch.cat([p[name] for p in parts], dim=1) for name in self._judged}

    def _gather(self, part: int, rows: Tensor) -> dict[str, Gathered]:
        if part in self._gathered:
            return self._gathered[part]
        gathered = self._population.gather(rows, alike=self._alike)
        if self._alike and all(g.values.stride(0) == 0 for g in gathered.values()):
            self._gathered[part] = gathered
        return gathered

    def _score(self, logits: Tensor, target: Tensor, counted: Tensor) -> Tensor:
        kind = self._population.table.kind
        if self._by_loss:
            return -_mean_losses(logits, target, counted, kind)  # NaN where no row counts
        # rounded as predictions are scored later, so that equal rows stay ties wherever a vector unit computes them
        found = probabilities(logits.double(), kind).float().double()
        found = metrics.score(self.metric, found, target, kind, counted.double()).float()
        return found if metrics.METRICS[self.metric].higher_is_better else -found


def _mean_losses(logits: Tensor, target: Tensor, counted: Tensor, kind: TargetKind) -> Tensor:
    # float64: in float32 the last rows of a tensor are rounded otherwise, and they are others in other company
    flat = row_losses(logits.flatten(0, 1).double(), target.flatten(0, 1), kind).reshape(counted.shape)
    return torch.where(counted.any(dim=1), weighted_mean(flat, counted), torch.nan).float()


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean over rows in float64, so that padding does not change how it is rounded; 0 where nothing counts."""
    kept = torch.where(weights > 0, values.double() * weights, 0)
    return kept.sum(dim=1) / weights.double().sum(dim=1).clamp_min(1)
