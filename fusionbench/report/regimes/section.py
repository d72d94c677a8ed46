"""Where the data of a run lie on the map of regimes: what was measured, the nearest regimes, and what could be the best there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

from fusionbench.analysis.regimes.charted import PACKAGED, RegimeMap, read_map
from fusionbench.analysis.regimes.placing import Measured, Placement, measured, placed
from fusionbench.analysis.regimes.readings import by_fold
from fusionbench.analysis.words import NOTHING, counted, listed, number
from fusionbench.contract.blocks import Block, Section, Table, Text
from fusionbench.keys import PROTOCOL_VERSION
from fusionbench.report.lines import mark_of
from fusionbench.report.regimes.picture import place_picture

if TYPE_CHECKING:
    from fusionbench.records import RunSummary

TITLE: Final = "Where these data lie on the map of regimes"
_MEANINGS: Final = {
    "dominance": "0: every modality brings the same; 1: one brings everything",
    "redundancy": "1: each modality alone says what all of them say",
    "synergy": "1: no modality alone says anything, only all together do",
}
_ABOUT: Final = (
    "Strategies differ where data do: one modality may lead, several may say the same, or only several together may tell. From "
    "what every subset of the modalities predicts, the report measures which of these holds here, and looks up what could be the "
    "best in generated data that are like it."
)


@cache
def packaged() -> RegimeMap:
    """Return the map that travels with the package."""
    return read_map(PACKAGED)


def place_on_map(summary: RunSummary) -> Section | None:
    """Place a run on the map; None where subsets were not scored, or there is one modality."""
    readings = summary.tables.readings
    if readings.empty:
        return None
    found = measured(by_fold(readings), summary.plan.benchmark.evaluation.confidence)
    names, charted = list(summary.plan.dataset.modalities), packaged()
    whole = float(readings.loc[readings["subset"] == "+".join(names), "auroc"].mean())
    if not found.says_enough:
        words = (
            f"All modalities together reach an AUROC of {number(whole)}: too little to say which of them tells how much of "
            "it, so these data are not placed."
        )
        return Section(TITLE, [Text(_ABOUT), Text(words)])
    place = placed(found, charted)
    blocks: list[Block] = [
        Text(_ABOUT),
        _measures(found),
        _modalities(found, names),
        Text(_where(place, charted), _limits(charted, names, whole)),
        place_picture(charted, found, place.nearest, "place-on-the-map", mark_of(summary)),
        _possible(place, charted),
    ]
    return Section(TITLE, blocks)


def _measures(found: Measured) -> Table:
    rows = [
        [name, _with_interval(value, low, high), _MEANINGS[name]]
        for name, value, low, high in zip(_MEANINGS, found.found.place, found.low, found.high, strict=True)
    ]
    caption = (
        "What was measured, with intervals over folds. Where some modalities say the same and some tell only together, the two "
        "cancel, and what is left of one of them stands here."
    )
    return Table(caption, ["measure", "here", "how to read it"], rows, heads=1, words=True, name="regime")


def _with_interval(value: float, low: float, high: float) -> str:
    return number(value, 2) if np.isnan(low) else f"{number(value, 2)} [{number(low, 2)}, {number(high, 2)}]"


def _modalities(found: Measured, names: Sequence[str]) -> Table:
    whole, alone, brought = found.found.whole, found.found.alone, found.found.brought
    rows = [
        [name, number(alone[m], 2), number(brought[m], 2), _whole_percent(brought[m] / whole)]
        for m, name in enumerate(names)
    ]
    rows.append(["all together", number(whole, 2), number(whole, 2), _whole_percent(1.0)])
    caption = (
        "Information of each modality, in units that add up where modalities are independent: the squared normal quantile of the "
        "AUROC. Brings: its Shapley value, the mean gain over all orders in which modalities can be added."
    )
    return Table(caption, ["modality", "says alone", "brings", "share"], rows, name="information")


def _where(place: Placement, charted: RegimeMap) -> str:
    near = [
        f"{_dials(charted, i)} ({_whole_percent(share)})" for i, share in zip(place.nearest, place.share, strict=True)
    ]
    shown, more = near[:3], len(near) - 3
    rest = f", and {counted(more, 'other')}" if more > 0 else ""
    if not place.inside:
        return (
            f"No swept regime is like these data: the nearest, {_dials(charted, place.nearest[0])}, is "
            f"{number(place.distance, 2)} away, farther than half the way between neighbouring ones "
            f"({number(charted.reach, 2)}). The table says little here."
        )
    return (
        f"Of {len(charted.regimes)} swept regimes the nearest to these data, each with its probability as far as the "
        f"scatter over folds shows it: {listed(shown)}{rest}."
    )


def _dials(charted: RegimeMap, regime: int) -> str:
    dials = zip(charted.dials, charted.regimes[regime].dials, strict=True)
    return ", ".join(f"{name} {value:g}" for name, value in dials)


def _limits(charted: RegimeMap, names: Sequence[str], whole: float) -> list[str]:
    """What separates the map from these data, one sentence each."""
    made, best = charted.made, np.mean([regime.ceiling[0] for regime in charted.regimes])
    planted = (
        "The map is of generated data: two modalities that are plain numbers, with a best possible AUROC on complete data of "
        f"{number(best)} everywhere. Here all modalities together reach {number(whole)}."
    )
    how = f"It was made by '{made.command}' of version {made.version} under protocol {made.protocol}"
    said = [
        planted,
        f"{how} ({made.data}; {made.settings}).",
        "It says which strategies deserve a place in a comparison; what holds for these data, the tables above say.",
    ]
    if len(names) > 2:
        said.insert(1, f"These data have {len(names)} modalities; the measures are means over all of them.")
    if charted.older:
        now = f"The map is older than this version, which computes under protocol {PROTOCOL_VERSION}"
        said.insert(0, f"{now}: its numbers may be others now.")
    return said


def _possible(place: Placement, charted: RegimeMap) -> Table:
    order = np.argsort(-place.possible.mean(axis=0), kind="stable")
    rows = [[charted.lines[k], *(_share(place.possible[j, k]) for j in range(len(charted.rates)))] for k in order]
    hidden = [float(np.mean([regime.achieved[j] for regime in charted.regimes])) for j in range(len(charted.rates))]
    columns = ["strategy", *(f"{_whole_percent(share)} missing" for share in hidden)]
    caption = (
        "What could be the best in the nearest regimes, by share missing there: with which probability, as far as the scatter "
        f"over folds shows it, the strategy is among those that could be. {NOTHING}: with none. Where all have 100 %, the map "
        "shows no difference."
    )
    return Table(caption, columns, rows, name="map-of-regimes")


def _share(share: float) -> str:
    return NOTHING if share < 0.005 else _whole_percent(share)


def _whole_percent(share: float) -> str:
    return f"{max(share, 0):.0%}".replace("%", " %")
