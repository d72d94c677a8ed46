"""The metrics: each one entry, from its name to what is computed.

A new metric is an entry of :data:`METRICS` here, with its function above, a test against scikit-learn, and a line in
``docs/statistics.md``. It is then computed, resampled, ranked, named and tabulated everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from fusionbench.errors import ConfigError, did_you_mean
from fusionbench.metrics.levels import OfResamples, resampled_auroc, resampled_average_precision
from fusionbench.metrics.ranks import auroc, average_precision
from fusionbench.targets import TargetKind

CALIBRATION_BINS = 10

Summands = Callable[[Tensor, Tensor], Tensor]
"""From probabilities and target to what is summed over rows, float64 ``[..., terms, rows]``."""


@dataclass(frozen=True)
class Ranking:
    """What says how well scores order the rows of a label, or of a class against the rest.

    Args:
        scores: From scores, 0/1 target and weights, each ``[..., rows]``, to the metric ``[...]``.
        resampled: From scores and 0/1 target of one model, ``[rows]``, to the same for resamples.
    """

    scores: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    resampled: OfResamples


def mean(terms: Tensor, total: Tensor) -> Tensor:
    """Return the mean over rows of a single term."""
    return terms[..., 0] / total


@dataclass(frozen=True)
class Sums:
    """A function of weighted sums over rows, so that a bootstrap is one matrix product.

    Args:
        labels: What is summed for each label: of probabilities and 0/1 target, each ``[..., rows]``. None: not defined.
        classes: What is summed for classes: of probabilities ``[..., rows, classes]`` and classes ``[..., rows]``.
        conclude: From the sums ``[..., terms]`` and the number of rows to the metric.
    """

    labels: Summands | None
    classes: Summands
    conclude: Callable[[Tensor, Tensor], Tensor] = mean


@dataclass(frozen=True)
class Metric:
    """All there is to know about a metric.

    Args:
        name: As benchmark files and result tables call it.
        title: How it is called in sentences and on axes.
        higher_is_better: The direction of the leaderboard.
        kinds: The kinds of target it is defined for.
        how: How it is computed.
        intervals: Whether it gets intervals also where it is not the task's own metric.
        beside: The title of its column in the leaderboard where it is not the task's own; empty: it has none.
    """

    name: str
    title: str
    higher_is_better: bool
    kinds: frozenset[TargetKind]
    how: Ranking | Sums
    intervals: bool = False
    beside: str = ""

    @property
    def ranks(self) -> bool:
        """True where it says nothing unless both classes occur."""
        return isinstance(self.how, Ranking)


# --------------------------------------------------------------------------------------------
# what is summed, and what is made of the sums


def _squares(p: Tensor, y: Tensor) -> Tensor:
    return (p.double() - y.double()).square().unsqueeze(-2)


def _class_squares(p: Tensor, y: Tensor) -> Tensor:
    return (p.double() - functional.one_hot(y, p.shape[-1])).square().sum(dim=-1).unsqueeze(-2)


def _clipped(p: Tensor) -> Tensor:
    unit = torch.finfo(p.dtype).eps
    return p.double().clamp(unit, 1 - unit)


def _surprise(p: Tensor, y: Tensor) -> Tensor:
    p = _clipped(p)
    return -torch.where(y == 1, p, 1 - p).log().unsqueeze(-2)


def _class_surprise(p: Tensor, y: Tensor) -> Tensor:
    # one-hot, not gather: leading axes of p and y broadcast
    true = (_clipped(p) * functional.one_hot(y, p.shape[-1])).sum(dim=-1)
    return -true.log().unsqueeze(-2)


def _hits(p: Tensor, y: Tensor) -> Tensor:
    return ((p > 0.5) == (y == 1)).double().unsqueeze(-2)


def _class_hits(p: Tensor, y: Tensor) -> Tensor:
    return (p.argmax(dim=-1) == y).double().unsqueeze(-2)


def gaps(p: Tensor, y: Tensor, bins: int = CALIBRATION_BINS) -> Tensor:
    """Return ``y - p`` in the bin of each row, a term for each bin ``[i / bins, (i + 1) / bins)``, the last one with 1."""
    # edges are divided, p is not multiplied: the number below .9, times 10, is rounded to 9
    edges = torch.arange(1, bins, dtype=torch.float64, device=p.device) / bins
    index = torch.bucketize(p.double().contiguous(), edges, right=True)
    members = index.unsqueeze(-2) == torch.arange(bins, device=p.device).unsqueeze(-1)
    return torch.where(members, (y.double() - p.double()).unsqueeze(-2), 0)


def _class_gaps(p: Tensor, y: Tensor) -> Tensor:
    confidence, said = p.max(dim=-1)
    return gaps(confidence, said == y)


def _confusion(p: Tensor, y: Tensor) -> Tensor:
    """Terms by class: said and true (hits), then said plus true."""
    said = functional.one_hot(p.argmax(dim=-1), p.shape[-1])
    true = functional.one_hot(y, p.shape[-1])
    return torch.cat([said * true, said + true], dim=-1).movedim(-1, -2).double()


def _calibration_error(terms: Tensor, total: Tensor) -> Tensor:
    return terms.abs().sum(dim=-1) / total


def _mean_f1(terms: Tensor, _total: Tensor) -> Tensor:
    hits, occurrences = terms.chunk(2, dim=-1)
    occurs = occurrences > 0
    f1 = torch.where(occurs, 2 * hits / occurrences, 0)
    return f1.sum(dim=-1) / occurs.sum(dim=-1)


# --------------------------------------------------------------------------------------------
# the metrics

_ALL = frozenset(TargetKind)
_ONE_ANSWER = frozenset({TargetKind.BINARY, TargetKind.MULTICLASS})
_CLASSES = frozenset({TargetKind.MULTICLASS})

METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            "auroc",
            "AUROC",
            higher_is_better=True,
            kinds=_ALL,
            how=Ranking(auroc, resampled_auroc),
            intervals=True,
        ),
        Metric(
            "auprc",
            "AUPRC",
            higher_is_better=True,
            kinds=_ALL,
            how=Ranking(average_precision, resampled_average_precision),
            intervals=True,
            beside="AUPRC",
        ),
        Metric(
            "brier",
            "Brier score",
            higher_is_better=False,
            kinds=_ALL,
            how=Sums(_squares, _class_squares),
            intervals=True,
            beside="Brier",
        ),
        Metric("ece", "ECE", higher_is_better=False, kinds=_ALL, how=Sums(gaps, _class_gaps, _calibration_error)),
        Metric("log_loss", "log loss", higher_is_better=False, kinds=_ALL, how=Sums(_surprise, _class_surprise)),
        Metric("accuracy", "accuracy", higher_is_better=True, kinds=_ONE_ANSWER, how=Sums(_hits, _class_hits)),
        Metric("macro_f1", "macro F1", higher_is_better=True, kinds=_CLASSES, how=Sums(None, _confusion, _mean_f1)),
    )
}
"""Every metric by its name, in the order of the tables."""


def names_for(kind: TargetKind) -> set[str]:
    """Return the names of the metrics that are defined for a kind of target."""
    return {metric.name for metric in METRICS.values() if kind in metric.kinds}


def primary(name: str, kind: TargetKind | None = None) -> Metric:
    """Look up the metric that ranks models.

    Args:
        name: For example ``"auroc"``.
        kind: The task's kind of target, where known.

    Raises:
        ConfigError: There is no such metric, or not for this kind of target.
    """
    known = [m.name for m in METRICS.values() if kind is None or kind in m.kinds]
    if not isinstance(name, str):  # an option of a task, as YAML has it
        raise ConfigError(f"metric: a metric is named by text, found {name!r}; choose one of {', '.join(known)}")
    if name not in known:
        where = f" for a {kind} target" if kind is not None and name in METRICS else ""
        raise ConfigError(
            f"metric: no metric named '{name}'{where}{did_you_mean(name, known)}; choose one of {', '.join(known)}"
        )
    return METRICS[name]
