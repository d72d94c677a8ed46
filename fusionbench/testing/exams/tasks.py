"""Checks that hold for tasks only: a data set that fits together, and is the same every time."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np
from numpy.typing import NDArray

from fusionbench.contract.data import Dataset, InputKind, Modality, Task
from fusionbench.progress import SilentProgress
from fusionbench.targets import TargetKind
from fusionbench.testing.exams.manners import global_state, listening, same_state
from fusionbench.testing.subjects import CheckSkippedError, Examined

DIMENSIONS = {"series": 3, "image": 3, "vector": 2}


@dataclass(frozen=True)
class TaskSubject(Examined):
    """One task class under examination. Data sets are prepared once and looked at by all checks.

    Args:
        cases: Not used: a task brings its own rows.
    """

    kind: ClassVar[str] = "task"
    cases: tuple[Any, ...] = ()
    prepared: list[Dataset] = field(default_factory=list, repr=False)

    def fresh(self) -> TaskSubject:
        """The subject itself: no check writes to a data set."""
        return self

    def example(self, **changes: Any) -> Task:
        """Build the task."""
        built: Task = self.plugin(**{**self.options, **changes})
        return built

    def ready(self) -> None:
        """Prepare the data."""
        self.dataset()

    def prepare(self, folder: Path) -> Dataset:
        """Prepare the data in a folder."""
        return self.example().prepare(folder, SilentProgress())

    def dataset(self) -> Dataset:
        """The data, prepared in an empty folder at the first call."""
        if not self.prepared:
            with tempfile.TemporaryDirectory() as folder:
                self.prepared.append(self.prepare(Path(folder)))
        return self.prepared[0]


def check_the_class_says_what_it_predicts(subject: TaskSubject) -> None:
    """A leaderboard is about a task; whoever reads it asks what the rows and the labels are.

    Mend: give the class a docstring, and ``modality_names`` in the order of the data set, or leave them empty.
    """
    assert subject.plugin.__doc__, f"{subject.plugin.__name__} has no docstring"
    declared, found = tuple(subject.plugin.modality_names), tuple(subject.dataset().modalities)
    assert declared in {(), found}, f"modality_names is {declared}, the data set has {found}"


def check_every_row_has_a_modality(subject: TaskSubject) -> None:
    """A row without any modality cannot be predicted, and the masks of every benchmark build on ``available``.

    Mend: return bool ``[rows, modalities]``, and leave out rows that have nothing.
    """
    data = subject.dataset()
    wanted = (len(data), len(data.modalities))
    assert data.modalities, "the data set has no modality"
    assert data.available.shape == wanted, f"available is {list(data.available.shape)}, wanted {list(wanted)}"
    assert data.available.dtype == np.bool_, f"available is {data.available.dtype}, not bool"
    empty = int((~data.available.any(axis=1)).sum())
    assert not empty, f"{empty} of {len(data)} rows have no modality at all"


def check_content_has_the_declared_kind(subject: TaskSubject) -> None:
    """Encoders are chosen by the kind of a modality and built for its shape before a row is read.

    Mend: series float ``[rows, steps, channels]``, image uint8 ``[rows, height, width]``, vector float
    ``[rows, width]``, text a sequence of str; ``lengths`` int64 of 1 to steps, ``standardise`` one bool per channel.
    """
    data = subject.dataset()
    for name, modality in data.modalities.items():
        assert len(modality.values) == len(data), f"{name} has {len(modality.values)} rows, the target {len(data)}"
        problem = _unfit(modality)
        assert problem is None, f"{name}: {problem}"


def _unfit(modality: Modality) -> str | None:
    """What is wrong with a modality's arrays, or None."""
    kind, values = modality.kind, modality.values
    if kind not in get_args(InputKind):
        return f"kind is {kind!r}; accepted: {', '.join(get_args(InputKind))}"
    if kind == "text":
        return None if all(isinstance(text, str) for text in values) else "a text is not a str"
    if not isinstance(values, np.ndarray) or values.ndim != DIMENSIONS[kind]:
        return f"a {kind} is an array with {DIMENSIONS[kind]} axes, found {getattr(values, 'shape', type(values))}"
    wanted = np.uint8 if kind == "image" else np.floating
    if not np.issubdtype(values.dtype, wanted):
        return f"a {kind} holds {wanted.__name__} numbers, found {values.dtype}"
    return _unfit_lengths(modality.lengths, values) or _unfit_flags(modality.standardise, values)


def _unfit_lengths(lengths: NDArray[np.int64] | None, values: NDArray[Any]) -> str | None:
    if lengths is None:
        return None
    if lengths.shape != (len(values),) or lengths.dtype != np.int64:
        return f"lengths are {lengths.dtype} {list(lengths.shape)}, wanted int64 [{len(values)}]"
    inside = bool(((lengths >= 1) & (lengths <= values.shape[1])).all())
    return None if inside else f"lengths must be 1 to {values.shape[1]}"


def _unfit_flags(flags: NDArray[np.bool_] | None, values: NDArray[Any]) -> str | None:
    if flags is None or (flags.shape == values.shape[-1:] and flags.dtype == np.bool_):
        return None
    return f"standardise is {flags.dtype} {list(flags.shape)}, wanted bool {list(values.shape[-1:])}"


def check_content_is_finite_everywhere(subject: TaskSubject) -> None:
    """Content is gathered before masks are applied, also of rows that lack it; one NaN there spoils a whole batch.

    Mend: fill rows that are not available with zeros, and impute gaps inside a series in ``prepare``.
    """
    for name, modality in subject.dataset().modalities.items():
        if isinstance(modality.values, np.ndarray):
            wrong = int((~np.isfinite(modality.values)).sum())
            assert not wrong, f"{name}: {wrong} of {modality.values.size} numbers are not finite"


def check_labels_are_what_the_kind_says(subject: TaskSubject) -> None:
    """Losses and metrics read labels by the kind of target; a class that is never seen cannot be scored.

    Mend: int64 ``[rows]`` of 0 to classes - 1, for multi-label ``[rows, labels]`` of 0 and 1; one name in ``outputs``
    for each column or class (one for binary); leave out labels that no row has, or all have.
    """
    data = subject.dataset()
    labels, count = data.target, len(data.outputs)
    shape = (len(data), count) if data.kind is TargetKind.MULTILABEL else (len(data),)
    assert labels.shape == shape, f"target is {list(labels.shape)}, wanted {list(shape)}"
    assert labels.dtype == np.int64, f"target is {labels.dtype}, not int64"
    assert data.kind is not TargetKind.BINARY or count == 1, f"a binary target has one output, found {count}"
    classes = set(range(count if data.kind is TargetKind.MULTICLASS else 2))
    for name, column in zip(data.outputs, labels.reshape(len(data), -1).T, strict=False):
        found = set(np.unique(column).tolist())
        assert found == classes, f"{name}: labels are {sorted(found)}, wanted each of {sorted(classes)}"


def check_patients_are_kept_together(subject: TaskSubject) -> None:
    """Rows of one patient in training and in test make any method look good.

    Mend: one int64 number per patient in ``groups``; a split or folds from the source must not cut a patient in two.
    """
    data = subject.dataset()
    fits = data.groups.shape == (len(data),) and data.groups.dtype == np.int64
    assert fits, f"groups are {data.groups.dtype} {list(data.groups.shape)}, wanted int64 [{len(data)}]"
    for what, place in (("split", data.split), ("folds", data.folds)):
        if place is not None:
            pairs = {(group, part) for group, part in zip(data.groups.tolist(), place.tolist(), strict=True)}
            cut = len(pairs) - len({group for group, _ in pairs})
            assert not cut, f"{what}: {cut} patients are in more than one part"


def check_the_same_options_give_the_same_data(subject: TaskSubject) -> None:
    """Results are found by the digest of the data; two runs with one digest must have read the same rows.

    Mend: seed every draw from an option, sort what the file system lists, and hash all that decides the content.
    """
    first = subject.dataset()
    assert isinstance(first.digest, str), f"digest is {type(first.digest).__name__}, not str"
    assert first.digest, "digest is empty"
    with tempfile.TemporaryDirectory() as folder:
        elsewhere, again = (subject.prepare(Path(folder)) for _ in range(2))
    for other, how in ((elsewhere, "prepared a second time"), (again, "read back from the cache")):
        assert other.digest == first.digest, f"the digest differs when the data are {how}"
        changed = [name for name, same in _compared(first, other) if not same]
        assert not changed, f"{', '.join(changed)} differs when the data are {how}"


def _compared(one: Dataset, other: Dataset) -> list[tuple[str, bool]]:
    parts = [{**vars(d), **{f"modality {n}": vars(m) for n, m in d.modalities.items()}} for d in (one, other)]
    return [(name, _same(value, parts[1].get(name))) for name, value in parts[0].items() if name != "modalities"]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and np.array_equal(one, other)
    if isinstance(one, Mapping):
        return isinstance(other, Mapping) and one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, Sequence) and not isinstance(one, str):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def check_preparing_leaves_everything_alone(subject: TaskSubject) -> None:
    """A task is prepared in the process that trains; what it sets or draws globally, every model would inherit.

    Mend: ``np.random.default_rng(seed)`` instead of global draws; report through ``progress``, do not print.
    """
    before = global_state()
    with tempfile.TemporaryDirectory() as folder, listening() as said:
        subject.prepare(Path(folder))
    assert same_state(global_state(), before), "it drew from, or set, global random state or modes"
    assert not said(), f"it printed: {said()[:60]!r}"


def check_the_ceiling_is_a_probability_for_each_subset(subject: TaskSubject) -> None:
    """Regret is the distance to the ceiling; a wrong one makes every method look better or worse.

    Mend: float ``[rows, 2 ** modalities]`` in [0, 1], column 0 the prevalence; None where it is not known.
    """
    data = subject.dataset()
    if data.ceiling is None:
        raise CheckSkippedError("it gives no ceiling")
    wanted = (len(data), 2 ** len(data.modalities))
    assert data.ceiling.shape == wanted, f"ceiling is {list(data.ceiling.shape)}, wanted {list(wanted)}"
    inside = bool(((data.ceiling >= 0) & (data.ceiling <= 1)).all())
    assert inside, "the ceiling has values outside [0, 1]"
    assert np.ptp(data.ceiling[:, 0]) == 0, "column 0 of the ceiling, nothing shown, is not one number"
