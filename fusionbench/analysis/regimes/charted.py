"""The map of regimes: swept settings of a planted problem, what was measured there, and which lines could be the best.

The numbers lie in ``map.json`` beside this module; ``benchmarks/oracles/regimes.py`` writes it after a sweep, and says in it
with which command, version and protocol.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fusionbench.keys import PROTOCOL_VERSION

FORMAT: Final = 1
PACKAGED: Final = Path(__file__).with_name("map.json")
DIALS: Final = ("imbalance", "redundancy", "synergy")
PLACE: Final = ("dominance", "redundancy", "synergy")


class Made(NamedTuple):
    """How a map was made."""

    command: str
    version: str
    protocol: int
    data: str
    settings: str


@dataclass(frozen=True)
class Regime:
    """One setting of the dials, and what was found there.

    Args:
        dials: Imbalance, redundancy, synergy, as they were set.
        place: Dominance, redundancy, synergy, as they were measured.
        known: The same of the best possible prediction.
        auroc: Of everything together, of the line that made the most of it.
        ceiling: AUROC of the best possible prediction by rate.
        achieved: Share that was hidden by rate.
        values: AUROC by rate and line.
        possible: By rate, the lines that could be the best (positions).
    """

    dials: Sequence[float]
    place: Sequence[float]
    known: Sequence[float]
    auroc: float
    ceiling: Sequence[float]
    achieved: Sequence[float]
    values: Sequence[Sequence[float]]
    possible: Sequence[Sequence[int]]


@dataclass(frozen=True)
class RegimeMap:
    """A sweep over the dials.

    Args:
        made: How.
        lines: Names of the strategies.
        rates: Nominal missing rates.
        regimes: Every setting of the dials.
    """

    made: Made
    lines: Sequence[str]
    rates: Sequence[float]
    regimes: Sequence[Regime]

    @cached_property
    def places(self) -> NDArray[np.float64]:
        """Measured places, ``[regimes, 3]``."""
        return np.array([r.place for r in self.regimes], dtype=np.float64)

    @cached_property
    def possible(self) -> NDArray[np.bool_]:
        """Which lines could be the best, ``[regimes, rates, lines]``."""
        found = np.zeros((len(self.regimes), len(self.rates), len(self.lines)), dtype=np.bool_)
        for i, regime in enumerate(self.regimes):
            for j, lines in enumerate(regime.possible):
                found[i, j, list(lines)] = True
        return found

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """AUROC, ``[regimes, rates, lines]``."""
        return np.array([r.values for r in self.regimes], dtype=np.float64)

    @cached_property
    def regret(self) -> NDArray[np.float64]:
        """How far each line stays below the best possible prediction, ``[regimes, rates, lines]``."""
        ceiling = np.array([r.ceiling for r in self.regimes], dtype=np.float64)
        found: NDArray[np.float64] = ceiling[:, :, None] - self.values
        return found

    @property
    def spacing(self) -> float:
        """How far a regime lies from its nearest neighbour, at most: who is farther away from all lies off the map."""
        apart = np.linalg.norm(self.places[:, None] - self.places[None], axis=-1)
        np.fill_diagonal(apart, np.inf)
        return float(apart.min(axis=1).max())

    @property
    def older(self) -> bool:
        """Whether it was made under another protocol than this version's."""
        return self.made.protocol != PROTOCOL_VERSION

    def table(self) -> pd.DataFrame:
        """One row for each regime, rate and line."""
        records = [
            {
                **dict(zip(DIALS, regime.dials, strict=True)),
                **{f"measured_{name}": value for name, value in zip(PLACE, regime.place, strict=True)},
                **{f"ceiling_{name}": value for name, value in zip(PLACE, regime.known, strict=True)},
                "rate": rate,
                "achieved": regime.achieved[j],
                "strategy": line,
                "auroc": regime.values[j][k],
                "ceiling": regime.ceiling[j],
                "regret": regime.ceiling[j] - regime.values[j][k],
                "behind_the_highest": max(regime.values[j]) - regime.values[j][k],
                "possible_best": k in regime.possible[j],
            }
            for regime in self.regimes
            for j, rate in enumerate(self.rates)
            for k, line in enumerate(self.lines)
        ]
        return pd.DataFrame(records)

    def text(self) -> str:
        """Return what :func:`read_map` reads: JSON, one regime a line."""
        head = {"format": FORMAT, **self.made._asdict(), "lines": list(self.lines), "rates": list(self.rates)}
        lines = ",\n".join(json.dumps(_rounded(asdict(regime))) for regime in self.regimes)
        return f'{json.dumps(head)[:-1]},\n"regimes": [\n{lines}\n]}}\n'


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return [_rounded(v) for v in value] if isinstance(value, list | tuple) else value


def read_map(path: Path = PACKAGED) -> RegimeMap:
    """Read a map.

    Raises:
        ValueError: It is of another format.
    """
    found = json.loads(path.read_text(encoding="utf-8"))
    if found.get("format") != FORMAT:
        raise ValueError(f"{path}: format {found.get('format')!r}; this version reads {FORMAT}")
    return RegimeMap(
        Made(*(found[name] for name in Made._fields)),
        tuple(found["lines"]),
        tuple(found["rates"]),
        tuple(Regime(**regime) for regime in found["regimes"]),
    )
