"""What was really hidden at the points of curves, whose rates are nominal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fusionbench.analysis.cells import Evaluation, Scored
from fusionbench.missingness.conditions import Condition
from fusionbench.missingness.masks import achieved_share
from fusionbench.missingness.subsets import is_subset


def with_achieved(curves: pd.DataFrame, scored: Sequence[Scored], study: Evaluation) -> pd.DataFrame:
    """Return the curves with ``achieved``: the share of available cells that a point hides, means over folds and seeds.

    Of test rows; where only training rows lack modalities (``where: train``), of training rows.
    """
    shares: dict[Condition, dict[tuple[int, int], float]] = {}
    for s in scored:
        place, point = (s.job.fold, s.job.seed), s.model.point
        if is_subset(s.condition) or place in shares.setdefault(point, {}):
            continue
        fold = study.folds[s.job.fold]
        rows = fold.development.train if study.where == "train" else fold.test.open(s.result.study)
        present = study.mask(point, s.job.seed, s.job.fold)[rows]
        shares[point][place] = achieved_share(study.dataset.available[rows], present)
    means = {(p.pattern, p.rate): float(np.mean(list(found.values()))) for p, found in shares.items()}
    pairs = zip(curves["pattern"], curves["rate"], strict=True)
    return curves.assign(achieved=[0.0 if rate == 0 else means.get((pattern, rate), np.nan) for pattern, rate in pairs])
