"""Numbers and names as a reader sees them."""

from __future__ import annotations

import re
from typing import Any

from fusionbench.metrics.registry import METRICS

NOTHING = "-"


def metric_name(metric: str) -> str:
    """Return how a metric is called in sentences and on axes."""
    return METRICS[metric].title if metric in METRICS else metric


def number(value: Any, digits: int = 3) -> str:
    """``.843``, ``-.020``, ``1.000``; a dash where there is no number."""
    if value is None or value != value:  # noqa: PLR0124 - NaN
        return NOTHING
    return re.sub(r"^(-?)0\.", r"\1.", f"{value:.{digits}f}")


def signed(value: Any) -> str:
    """``+.020``, ``-.004``."""
    text = number(value)
    return text if text == NOTHING or text.startswith("-") else f"+{text}"


def interval(line: Any, name: str) -> str:
    """``.843 [.820, .861]`` from columns ``name``, ``name_low`` and ``name_high`` of a row."""
    if line[name] != line[name]:
        return NOTHING
    return f"{number(line[name])} [{number(line[f'{name}_low'])}, {number(line[f'{name}_high'])}]"


def p_value(value: float) -> str:
    """Three digits, and no zero."""
    return "< .001" if value < 0.0005 else number(value)


def whole(value: float) -> str:
    """An integer with its thousands set apart."""
    return f"{round(value):,}"


def seconds(value: float) -> str:
    """Seconds, with a digit behind the point where they are few."""
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def percent(share: float) -> str:
    """A share as a percentage: ``12 %``, ``0.4 %``."""
    return f"{100 * share:.3g} %"


def counted(count: int, thing: str, things: str = "") -> str:
    """``1 fold``, ``3 folds``."""
    return f"{count:,} {thing if count == 1 else things or thing + 's'}"


def listed(names: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def arm_name(strategy: str, imputer: str, variant: str = "") -> str:
    """``concat / mean``, and what it was trained with where lines differ in that; a reference has no imputer."""
    trained = f" (trained at {variant})" if variant else ""
    return f"{strategy} / {imputer}{trained}" if imputer else strategy


_PATTERNS = {
    "random": "{rate} of each modality hidden",
    "one": "one modality hidden in {rate} of the rows",
    "all": "some modalities hidden in {rate} of the rows",
    "natural": "nothing hidden",
}


def hidden_words(pattern: str, rate: float) -> str:
    """What a pattern hides at a nominal rate, for a sentence: ``80 % of cxr and report hidden``."""
    if ":" in pattern:
        names = [part.partition(":")[0] for part in pattern.split("+")]
        return f"up to {percent(rate)} of {listed(names)} hidden"
    return _PATTERNS.get(pattern, f"{{rate}} of {listed(pattern.split('+'))} hidden").replace("{rate}", percent(rate))
