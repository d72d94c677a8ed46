"""The options that every task on MIMIC has, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from fusionbench import Task
from fusionbench.errors import did_you_mean
from fusionbench_plugins.tasks.mimic.tables.database import Resources
from fusionbench_plugins.tasks.mimic.tables.window import Window

Rules = Literal["sound", "medfuse"]
"""How values become arrays: names of ``RULE_SETS``."""

MODALITIES = ("ehr", "cxr", "report")
"""What a stay may have, where files of all of it are given."""

Cohort = Literal["partial", "paired"] | list[str]

_TOLERANCE = 1e-6
_SHORTEST_STEP = 0.01
_BEYOND = 1e300
_LONGEST = 100_000  # hours: eleven years, longer than any stay
_MEMORY = re.compile(r"\d+(\.\d+)?\s*([KMGT]i?B)", re.IGNORECASE)


class OnMimic(Task):
    """A task on MIMIC; what these options mean is said here once, and by a task where it means something more.

    Args:
        root: A MIMIC-IV tree (``hosp/`` and ``icu/``; v1.0's ``core/`` too). Empty: ``synthetic`` is used.
        cxr_root: A MIMIC-CXR-JPG tree (``files/`` or ``images.zip``) that also holds ``mimic-cxr-reports.zip``.
            Empty: only modality ``ehr``.
        rules: ``sound`` or ``medfuse``, how values become arrays.
        step_hours: Length of a step of the series.
        max_steps: Longer series are cut after so many steps. All series are stored as long as the longest one, so a single
            stay of 100 days would make a table of many gigabytes. None: never cut.
        image_size: Pictures are resized to this shorter side and cropped to a square.
        report_margin_hours: Leave out reports of pictures taken in the last so many hours of what is used: the text has no
            time of its own and is written after the picture.
        cohort: ``partial``: every stay; ``paired``: stays with every modality; a list: stays with these, ``[ehr, cxr]``.
        memory_limit: For the extraction, for example ``2GB``.
        threads: For the extraction and the pictures.
        temp_folder: Where the extraction spills what does not fit into memory; default: into the cache.
        synthetic: Settings of a synthetic cohort, used where ``root`` is empty.
        split: Parts that ``splits.source: task`` uses: lists of patients as MedFuse has them, ``{test: file, validation:
            file}``; or by a hash of their number, ``{test: 0.2, validation: 0.1, salt: text}`` or ``{folds: 5, salt: text}``.
    """


@dataclass(frozen=True)
class Options:
    """What decides the inputs; :class:`OnMimic` says what each means.

    Args:
        full_window: True = only stays that last as long as the window are in the cohort (the task's choice).
        max_steps: Series are cut after so many steps; None: never.
    """

    rules: Rules = "sound"
    step_hours: float = 2
    window_hours: float | None = 48
    image_size: int = 64
    report_margin_hours: float = 0.0
    cohort: Cohort = "partial"
    memory_limit: str = "2GB"
    threads: int = 2
    full_window: bool = True
    max_steps: int | None = None
    temp_folder: str | None = None

    @property
    def window(self) -> Window:
        """Which hours of a stay are read."""
        return Window(self.window_hours, self.full_window)

    @property
    def resources(self) -> Resources:
        """What the extraction may use."""
        folder = Path(self.temp_folder).expanduser() if self.temp_folder else None
        return Resources(self.memory_limit, self.threads, folder)

    def problems(self) -> list[str]:
        """Return what is wrong with the values, one sentence each."""
        checks = [*self._window_problems()]
        checks += [_whole("image_size", self.image_size, 8, 2048), _whole("threads", self.threads, 1, 1024)]
        if self.max_steps is not None:
            checks.append(_whole("max_steps", self.max_steps, 1, 100_000))
        if not isinstance(self.memory_limit, str) or not _MEMORY.fullmatch(self.memory_limit):
            checks.append(f"memory_limit must be a size such as '2GB', found {self.memory_limit!r}")
        checks.append(_folder("temp_folder", self.temp_folder))
        checks.append(self._cohort_problem())
        return [problem for problem in checks if problem]

    def _cohort_problem(self) -> str:
        listed = [] if isinstance(self.cohort, str) else list(self.cohort)
        wrong = [name for name in listed if name not in MODALITIES]
        if wrong or (not listed and not isinstance(self.cohort, str)) or len(set(listed)) < len(listed):
            hint = did_you_mean(str(wrong[0]), MODALITIES) if wrong else ""
            return (
                f"cohort must be 'partial', 'paired', or a list of modalities that every stay must have, each once, of "
                f"{', '.join(MODALITIES)}; found {self.cohort!r}{hint}"
            )
        return ""

    @property
    def cohort_words(self) -> str:
        """The cohort in a word: ``paired``, or what every stay has."""
        return self.cohort if isinstance(self.cohort, str) else " and ".join(self.cohort)

    def must_have(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the modalities that every stay of the cohort has, of those that there are.

        Args:
            names: Those that there are.
        """
        if self.cohort == "paired":
            return tuple(names)
        return () if self.cohort == "partial" else tuple(self.cohort)

    def _window_problems(self) -> Iterator[str]:
        whole_stay = self.window_hours is None and not self.full_window
        step = _number("step_hours", self.step_hours, 0, _SHORTEST_STEP)
        window = "" if whole_stay else _number("window_hours", self.window_hours, 0)
        yield from (step, window)
        limit = float("inf") if self.window_hours is None or window else self.window_hours
        if not step and np.isfinite(limit) and not _divides(self.step_hours, limit):
            yield f"step_hours must divide window_hours, found {self.step_hours} and {limit}"
        margin = self.report_margin_hours
        if not _is_number(margin) or not 0 <= margin <= limit:
            yield f"report_margin_hours must be from 0 to window_hours, found {margin!r}"

    def normalised(self) -> Options:
        """Return the options with hours as floats, so that 48 and 48.0 name the same cache entry."""
        return replace(
            self,
            step_hours=float(self.step_hours),
            window_hours=None if self.window_hours is None else float(self.window_hours),
            report_margin_hours=float(self.report_margin_hours),
        )


def _is_number(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) < _BEYOND and bool(np.isfinite(value))  # larger whole numbers are none of numpy's


def _number(name: str, value: object, above: float, least: float = 0.0) -> str:
    if not (_is_number(value) and isinstance(value, int | float) and value > above):
        return f"{name} must be a number above {above:g}, found {value!r}"
    good = least <= value <= _LONGEST
    return "" if good else f"{name} must be from {least or above:g} to {_LONGEST:,} hours, found {value!r}"


def _whole(name: str, value: object, low: int, high: int) -> str:
    good = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    return "" if good else f"{name} must be a whole number from {low} to {high}, found {value!r}"


def _folder(name: str, value: object) -> str:
    return "" if value is None or isinstance(value, str) else f"{name} must be the path of a folder, found {value!r}"


def _divides(step: float, window: float) -> bool:
    return window / step >= 1 - _TOLERANCE and abs(window / step - round(window / step)) < _TOLERANCE
