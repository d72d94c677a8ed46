"""Checks that hold for missingness mechanisms only, and the rows on which they are examined."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fusionbench.contract.mechanism import Missingness, MissingnessContext
from fusionbench.seeding import numpy_generator
from fusionbench.targets import TargetKind
from fusionbench.testing.batches import NAMES
from fusionbench.testing.exams.manners import global_state, same_state
from fusionbench.testing.subjects import CheckSkippedError, Examined

ROWS = 4000
# a column of n uniform numbers stays this close to uniform, times 1 / sqrt(n), in all but one of 10^6 cases
UNIFORM = 2.7


@dataclass(frozen=True)
class ContextCase:
    """What a mechanism may look at, with a name for messages. Guests may bring their own."""

    name: str
    context: MissingnessContext


def default_contexts() -> tuple[ContextCase, ...]:
    """One and three modalities, complete and with gaps, for each kind of target."""
    cases = [(count, complete, kind) for count in (1, 3) for complete in (True, False) for kind in TargetKind]
    return tuple(_context(*case) for case in cases)


def _context(count: int, complete: bool, kind: TargetKind) -> ContextCase:
    draw = numpy_generator("conformance contexts", count=count, complete=complete, kind=kind.value)
    available = np.ones((ROWS, count), dtype=np.bool_) if complete else draw.random((ROWS, count)) < 0.7
    available[:, 0] |= ~available.any(axis=1)
    classes, shape = (5, (ROWS,)) if kind is TargetKind.MULTICLASS else (2, (ROWS,))
    target = draw.integers(0, classes, (ROWS, 4) if kind is TargetKind.MULTILABEL else shape)
    summaries = np.where(available, draw.standard_normal((ROWS, count)), 0.0)
    name = f"{count} modalities, {kind.value}, {'complete' if complete else 'with gaps'}"
    return ContextCase(name, MissingnessContext(available, NAMES[:count], target, summaries))


@dataclass(frozen=True)
class MissingnessSubject(Examined):
    """One mechanism under examination.

    Args:
        cases: The rows to examine it on.
    """

    kind: ClassVar[str] = "missingness"
    cases: tuple[ContextCase, ...] = ()

    def fresh(self) -> MissingnessSubject:
        """The subject with its own copy of the cases, so that a plugin that writes to them harms no other."""
        return replace(self, cases=tuple(ContextCase(case.name, _copied(case.context)) for case in self.cases))

    def example(self, **changes: Any) -> Missingness:
        """Build the mechanism."""
        built: Missingness = self.plugin(**{**self.options, **changes})
        return built

    def thresholds(self, case: ContextCase, seed: int = 0) -> NDArray[np.float64]:
        """Draw thresholds; one seed, one draw."""
        return self.example().thresholds(case.context, numpy_generator("conformance thresholds", seed=seed))


def _copied(context: MissingnessContext) -> MissingnessContext:
    assert context.summaries is not None
    arrays = (context.available.copy(), context.names, context.target.copy(), context.summaries.copy())
    return MissingnessContext(*arrays)


def check_thresholds_have_one_entry_for_each_cell(subject: MissingnessSubject) -> None:
    """A threshold is the rate at which a cell begins to be hidden: one for each row and modality, in [0, 1).

    Mend: return float64 ``[rows, modalities]``, also for what a row does not have; 1 itself would never be hidden.
    """
    for case in subject.cases:
        drawn = subject.thresholds(case)
        wanted = case.context.available.shape
        assert drawn.shape == wanted, f"{case.name}: thresholds {list(drawn.shape)}, wanted {list(wanted)}"
        assert drawn.dtype == np.float64, f"{case.name}: thresholds are {drawn.dtype}, not float64"
        inside = ((drawn >= 0) & (drawn < 1)).all()
        assert inside, f"{case.name}: thresholds must lie in [0, 1), found {drawn.min():.3g} to {drawn.max():.3g}"


def check_a_rate_hides_its_share(subject: MissingnessSubject) -> None:
    """Curves are drawn over rates: at .4 about 40 % of a modality's rows must lack it, whatever the mechanism.

    Mend: rank rows (``fusionbench.missingness.thresholds_from``), so that each column is uniform over the rows that
    have the modality.
    """
    for case in subject.cases:
        for name, column, held in zip(
            case.context.names, subject.thresholds(case).T, case.context.available.T, strict=True
        ):
            sorted_, steps = np.sort(column[held]), np.arange(1, held.sum() + 1) / held.sum()
            away = float(np.abs(sorted_ - steps).max())
            allowed = UNIFORM / np.sqrt(held.sum())
            assert away <= allowed, f"{case.name}: {name}: the share hidden is off the rate by {away:.3f}"


def check_the_generator_decides_the_draw(subject: MissingnessSubject) -> None:
    """Masks are the same for every strategy, and others for every seed.

    Mend: draw from ``generator`` only, and from it always.
    """
    for case in subject.cases:
        before = global_state()
        first, again, other = (subject.thresholds(case, seed) for seed in (0, 0, 1))
        assert np.array_equal(first, again), f"{case.name}: one generator gave two draws"
        assert not np.array_equal(first, other), f"{case.name}: the draw does not depend on the generator"
        assert same_state(global_state(), before), f"{case.name}: it drew from, or set, global random state"


def check_the_context_is_not_changed(subject: MissingnessSubject) -> None:
    """Labels and summaries are shared by every pattern and rate.

    Mend: copy before writing: ``context.available.copy()``.
    """
    for case in subject.cases:
        before = _copied(case.context)
        subject.thresholds(case)
        for field in ("available", "target", "summaries"):
            same = np.array_equal(getattr(case.context, field), getattr(before, field))
            assert same, f"{case.name}: the mechanism changed context.{field}"


def check_summaries_are_read_only_where_declared(subject: MissingnessSubject) -> None:
    """Summaries take a pass over all modalities; they are computed only for mechanisms that ask for them.

    Mend: set ``uses_summaries = True``.
    """
    if subject.plugin.uses_summaries:
        raise CheckSkippedError("it says uses_summaries = True")
    for case in subject.cases:
        without = ContextCase(case.name, replace(case.context, summaries=None))
        same = np.array_equal(subject.thresholds(without), subject.thresholds(case))
        assert same, f"{case.name}: thresholds depend on summaries"


def check_a_blind_mechanism_looks_at_nothing(subject: MissingnessSubject) -> None:
    """A blind mechanism draws test rows together with training rows, so nothing of a row may decide its draw.

    Mend: take ``blind = True`` away; the rows of each part are then drawn apart.
    """
    if not subject.plugin.blind:
        raise CheckSkippedError("it does not say blind = True, and draws each part of a fold for itself")
    for case in subject.cases:
        shown = case.context
        there = np.ones_like(shown.available)
        other = replace(shown, available=there, target=np.empty(0, dtype=np.int64), summaries=None)
        same = np.array_equal(subject.thresholds(ContextCase(case.name, other)), subject.thresholds(case))
        assert same, f"{case.name}: thresholds depend on what rows have, or on their labels"


def check_few_rows_are_enough(subject: MissingnessSubject) -> None:
    """Training, validation and test rows of a fold are drawn apart, and a part may hold one row, or one label only.

    Mend: give every row a threshold in [0, 1) where there is nothing to compare it with.
    """
    for case in subject.cases:
        for rows in (1, 3):
            part = _first_rows(case, rows)
            drawn = subject.thresholds(part)
            assert drawn.shape == part.context.available.shape, (
                f"{case.name}: {rows} rows: thresholds {list(drawn.shape)}"
            )
            assert ((drawn >= 0) & (drawn < 1)).all(), f"{case.name}: {rows} rows: thresholds must lie in [0, 1)"


def _first_rows(case: ContextCase, rows: int) -> ContextCase:
    """A part of a few rows that have one label."""
    found = case.context
    assert found.summaries is not None
    arrays = (found.available[:rows], found.names, np.zeros_like(found.target[:rows]), found.summaries[:rows])
    return ContextCase(f"{case.name}, {rows} rows", MissingnessContext(*arrays))
