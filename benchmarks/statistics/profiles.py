"""How often differences to a baseline are shown that are not there, over lines and points, and what is found of others.

    python benchmarks/statistics/profiles.py --studies 200

Curves of six points. Nothing differs: one strategy under other seeds, or equal strategies with columns of their own. Where
something does, half of the lines have columns of their own that say nothing: they fall behind as more of the shared columns is
hidden. Beside the correction of the product stands Holm's, which knows nothing of how points and lines hang together.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
from boards import Fitted
from numpy.typing import NDArray

from fusionbench.statistics.contrasts import contrasts_of

RATES = (0.0, 0.2, 0.4, 0.6, 0.8, 0.95)
LEVEL, LINES, WORSE, DRAWS = 0.05, 12, 6, 4000


class Found(NamedTuple):
    """What is kept of one study.

    Args:
        wrong: Whether any difference was shown that is not there.
        alone: Share of these with p < .05, uncorrected.
        power: Share of the differences at the two highest rates that were shown.
        power_holm: The same by Holm's correction.
    """

    wrong: bool
    alone: float
    power: float
    power_holm: float


def study(kind: Fitted, number: int) -> Found:
    """Draw curves, and compare every line with the first at every point."""
    theta, influence, df = kind.profile(number, RATES)
    found = contrasts_of(theta, influence, df, 0, draws=DRAWS)
    equal = np.arange(1, kind.lines) < kind.lines - kind.worse
    p, adjusted = found.p[:, 1:], found.p_adjusted[:, 1:]
    holm = _holm(p.ravel()).reshape(p.shape)
    late = np.ix_([-2, -1], np.flatnonzero(~equal))
    return Found(
        bool((adjusted[:, equal] < LEVEL).any()),
        float((p[:, equal] < LEVEL).mean()),
        float((adjusted[late] < LEVEL).mean()) if kind.worse else np.nan,
        float((holm[late] < LEVEL).mean()) if kind.worse else np.nan,
    )


def _holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted


def row(kind: Fitted, found: Sequence[Found]) -> str:
    """One row of the table in docs/statistics.md."""
    table = np.array(found, dtype=np.float64)
    shown = [_share(table[:, i]) for i in range(table.shape[1])]
    truth = (
        f"{kind.worse} of {kind.lines} worse"
        if kind.worse
        else "other seeds"
        if kind.other_seeds
        else "equal strategies"
    )
    return " | ".join(
        ["", truth, f"{kind.patients:,}", f"{kind.folds} x {kind.seeds}", str(len(found)), *shown, ""]
    ).strip()


def _share(values: NDArray[np.float64]) -> str:
    if np.isnan(values).all():
        return "-"
    return f"{values.mean():.3f} ({values.std() / np.sqrt(len(values)):.3f})".replace("0.", ".")


def main() -> None:
    """Write the table, a row when it is done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    print(
        "| truth | patients | folds x seeds | studies | any wrong | one alone | found | found by Holm |\n"
        + "|---" * 8
        + "|"
    )
    with ProcessPoolExecutor(asked.workers) as pool:
        for patients in (500, 2000):
            for folds, seeds in ((3, 1), (3, 2), (5, 3)):
                design = {"patients": patients, "folds": folds, "seeds": seeds, "lines": LINES}
                for more in ({"other_seeds": True}, {}, {"worse": WORSE}):
                    kind = Fitted(**design, **more)
                    print(row(kind, list(pool.map(partial(study, kind), range(asked.studies)))), flush=True)


if __name__ == "__main__":
    main()
