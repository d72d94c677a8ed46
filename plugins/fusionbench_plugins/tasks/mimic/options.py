"""The options of the mortality task, and what is wrong with them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from fusionbench.errors import did_you_mean
from fusionbench_plugins.tasks.mimic.rules import RULE_SETS

_TOLERANCE = 1e-6
_MEMORY = re.compile(r"\d+(\.\d+)?\s*([KMGT]i?B)", re.IGNORECASE)


@dataclass(frozen=True)
class Options:
    """What decides the data; :class:`~fusionbench_plugins.tasks.mimic_ihm.MimicIhm` documents each."""

    rules: str = "sound"
    step_hours: float = 2
    window_hours: float = 48
    image_size: int = 64
    report_margin_hours: float = 0.0
    cohort: str = "partial"
    memory_limit: str = "2GB"
    threads: int = 2

    def problems(self) -> list[str]:
        """Return what is wrong with the values, one sentence each."""
        checks = [_number("step_hours", self.step_hours, 0), _number("window_hours", self.window_hours, 0)]
        if not any(checks) and not _divides(self.step_hours, self.window_hours):
            checks.append(f"step_hours must divide window_hours, found {self.step_hours} and {self.window_hours}")
        checks += [_whole("image_size", self.image_size, 8, 2048), _whole("threads", self.threads, 1, 1024)]
        if not isinstance(self.rules, str) or self.rules not in RULE_SETS:
            hint = did_you_mean(str(self.rules), RULE_SETS)
            checks.append(f"rules must be one of {', '.join(RULE_SETS)}, found {self.rules!r}{hint}")
        if self.cohort not in ("partial", "paired"):
            checks.append(f"cohort must be 'partial' or 'paired', found {self.cohort!r}")
        margin = self.report_margin_hours
        if not _is_number(margin) or margin < 0 or (_is_number(self.window_hours) and margin > self.window_hours):
            checks.append(f"report_margin_hours must be from 0 to window_hours, found {margin!r}")
        if not isinstance(self.memory_limit, str) or not _MEMORY.fullmatch(self.memory_limit):
            checks.append(f"memory_limit must be a size such as '2GB', found {self.memory_limit!r}")
        return [problem for problem in checks if problem]

    def normalised(self) -> Options:
        """Return the options with hours as floats, so that 48 and 48.0 name the same cache entry."""
        return replace(
            self,
            step_hours=float(self.step_hours),
            window_hours=float(self.window_hours),
            report_margin_hours=float(self.report_margin_hours),
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value).item()


def _number(name: str, value: object, above: float) -> str:
    good = _is_number(value) and isinstance(value, int | float) and value > above
    return "" if good else f"{name} must be a number above {above:g}, found {value!r}"


def _whole(name: str, value: object, low: int, high: int) -> str:
    good = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    return "" if good else f"{name} must be a whole number from {low} to {high}, found {value!r}"


def _divides(step: float, window: float) -> bool:
    return window / step >= 1 - _TOLERANCE and abs(window / step - round(window / step)) < _TOLERANCE
