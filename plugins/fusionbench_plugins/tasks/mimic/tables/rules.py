"""How charted values become arrays: everything on which published extractions differ, as data.

``sound`` repairs the faults that ``medfuse`` reproduces; ``docs/mimic-rules.md`` lists them with their effects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fusionbench_plugins.tasks.mimic.tables.variables import Conversion


@dataclass(frozen=True)
class RuleSet:
    """One extraction.

    Args:
        name: As the benchmark file names it.
        items: ``sound``: every item that measures the variable; ``peer``: MedFuse's list.
        number: Column the numbers come from: ``valuenum`` (text only where that is empty) or ``value``.
        conversions: Conversions that differ from the item table, by itemid.
        plain_numbers: Variables whose text must be an unsigned decimal number.
        text_ties: Variables where, of several values at one time, the largest *text* wins.
        outliers: Apply :class:`~.variables.Range`.
        item_ranks: Prefer items of lower rank within a step.
        lookback_hours: Values charted up to so long before admission start the fill of ``lookback``.
        lookback: The variables for which that holds.
        results_known: Drop laboratory results that were stored after the window's end.
        gcs_total: Derive the total from the three parts.
        one_hot: ``meaning``: spellings of one score share a column; ``spelling``: each has its own.
        age: ``admission`` (years at admission) or ``anchor`` (anchor_age as it stands).
        label: ``flag`` (hospital_expire_flag) or ``times`` (death between admission and discharge).
    """

    name: str
    items: Literal["sound", "peer"]
    number: Literal["valuenum", "value"]
    conversions: tuple[tuple[int, Conversion], ...] = ()
    plain_numbers: tuple[str, ...] = ()
    text_ties: tuple[str, ...] = ()
    outliers: bool = True
    item_ranks: bool = True
    lookback_hours: float = 0.0
    lookback: tuple[str, ...] = ()
    results_known: bool = True
    gcs_total: bool = True
    one_hot: Literal["meaning", "spelling"] = "meaning"
    age: Literal["admission", "anchor"] = "admission"
    label: Literal["flag", "times"] = "flag"


SOUND = RuleSet("sound", items="sound", number="valuenum", lookback_hours=24.0, lookback=("height", "weight"))

MEDFUSE = RuleSet(
    "medfuse",
    items="peer",
    number="value",
    conversions=(
        (223761, Conversion.FAHRENHEIT_IF_HOT),
        (223835, Conversion.PERCENT_ALWAYS),
        (226707, Conversion.NONE),
    ),
    plain_numbers=("glucose", "ph", "spo2"),
    text_ties=("gcs_eye", "gcs_motor", "gcs_verbal", "heart_rate", "mbp", "resp_rate"),
    outliers=False,
    item_ranks=False,
    results_known=False,
    gcs_total=False,
    one_hot="spelling",
    age="anchor",
    label="times",
)

RULE_SETS: dict[str, RuleSet] = {rules.name: rules for rules in (SOUND, MEDFUSE)}
