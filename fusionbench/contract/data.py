"""The data of a task: rows, modalities, labels, what was found in the files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from fusionbench.contract.names import name_problems
from fusionbench.contract.options import Configured
from fusionbench.errors import DataError, printable
from fusionbench.targets import TargetKind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fusionbench.progress import Progress


InputKind = Literal["series", "image", "text", "vector"]

UNNAMED_BELOW = 10
"""Classes with fewer rows are counted and not named: where the wrong column is the label, they are identifiers."""


@dataclass(frozen=True)
class Modality:
    """One named input stream, all rows.

    Args:
        kind: ``series`` (float ``[rows, steps, channels]``), ``image`` (uint8 ``[rows, height, width]``),
            ``text`` (a sequence of strings) or ``vector`` (float ``[rows, width]``).
        values: Content; undefined but finite (an empty string for text) where the modality is not available.
        lengths: For series of differing length: int64 ``[rows]``, valid steps, at least 1. None: all steps.
        standardise: Bool ``[channels]``; True for columns that are standardised with training rows.
            None: no column.
        columns: Names of the channels, where they have any.
    """

    kind: InputKind
    values: NDArray[Any] | Sequence[str]
    lengths: NDArray[np.int64] | None = None
    standardise: NDArray[np.bool_] | None = None
    columns: tuple[str, ...] = ()


class FunnelStep(NamedTuple):
    """One line of the cohort funnel."""

    step: str
    rows: int
    note: str = ""


@dataclass(frozen=True)
class Dataset:
    """What a task prepares: every row, before any split.

    Args:
        modalities: Content by name; the order is the modality order everywhere.
        available: Bool ``[rows, modalities]``, True = the record holds it. Every row has one True at least.
        target: Int64 ``[rows]``, or ``[rows, labels]`` for multi-label.
        kind: What the target means.
        outputs: Names of the labels or classes; one name for binary.
        groups: Int64 ``[rows]``; rows of one patient share a number. A running number, never an identifier.
        digest: Hash of everything that decided the content.
        synthetic: True when no real patient is in it; every output then says so.
        metric: The number by which models are selected and ranked.
        split: Text ``[rows]`` of ``train``, ``validation``, ``test`` where the source fixes a split.
        folds: Int64 ``[rows]`` where the source fixes folds; -1 = never a test row of a fold.
        ceiling: For synthetic data: float ``[rows, 2 ** modalities]``, P(target = 1 | the subset of
            modalities whose bits are set), bit m for modality m; column 0 is the prevalence.
        funnel: How many rows each rule of the cohort left.
        warnings: What a reader of the numbers must know.
        description: One sentence, for the report and MLflow.

    Raises:
        DataError: A modality has a name that cannot be used (:mod:`fusionbench.contract.names`).
    """

    modalities: Mapping[str, Modality]
    available: NDArray[np.bool_]
    target: NDArray[np.int64]
    kind: TargetKind
    outputs: tuple[str, ...]
    groups: NDArray[np.int64]
    digest: str
    synthetic: bool = False
    metric: str = "auroc"
    split: NDArray[np.str_] | None = None
    folds: NDArray[np.int64] | None = None
    ceiling: NDArray[np.float64] | None = None
    funnel: tuple[FunnelStep, ...] = ()
    warnings: tuple[str, ...] = ()
    description: str = ""

    def __post_init__(self) -> None:
        """Check the names: here they are all known, and nothing has been made of them."""
        problems = name_problems(self.modalities)
        if problems:
            raise DataError("\n".join(problems))
        object.__setattr__(self, "outputs", tuple(printable(str(name)) for name in self.outputs))
        object.__setattr__(self, "description", printable(self.description, kept="\n\t"))

    def __len__(self) -> int:
        return len(self.target)

    @property
    def shown_outputs(self) -> tuple[str, ...]:
        """What labels and classes are called where people read it; a class of few rows has no name there."""
        return self.outputs if self.kind is not TargetKind.MULTICLASS else shown_classes(self.outputs, self.target)


def shown_classes(names: Sequence[str], target: NDArray[np.int64]) -> tuple[str, ...]:
    """Return names of classes as people may read them: a class of few rows has its number only.

    Args:
        names: Of the classes.
        target: Int64 ``[rows]``.
    """
    counts = [int((target == number).sum()) for number in range(len(names))]
    return tuple(
        f"(class {number} of fewer than {UNNAMED_BELOW} rows)" if 0 < count < UNNAMED_BELOW else name
        for number, (name, count) in enumerate(zip(names, counts, strict=True))
    )


@dataclass(frozen=True)
class Findings:
    """What a task found in its data, for ``data check``: counts and names of columns and files, never a value of a row.

    Args:
        lines: To be printed. A line that begins with ``problem:`` would stop a run, one with ``warning:`` should be read.
        draw: Draws a picture of the data to each of the paths it is given; the ending decides the format.
    """

    lines: Sequence[str]
    draw: Callable[[Sequence[Path]], None] | None = None


class Task(Configured, ABC):
    """A prediction problem: finds its files, checks them, and makes a :class:`Dataset`.

    The constructor takes the task's options from the benchmark file as keyword arguments and
    must be cheap: files are opened in :meth:`prepare`.

    Attributes:
        source: A name for what it reads: ``data prepare SOURCE`` prepares every task ``SOURCE_...`` that has it.
    """

    modality_names: ClassVar[tuple[str, ...]] = ()
    source: ClassVar[str] = ""

    @abstractmethod
    def prepare(self, cache: Path, progress: Progress) -> Dataset:
        """Return the data, reusing what an earlier call left in ``cache``.

        Args:
            cache: A folder for this kind of task; entries are named by content and complete when named.
            progress: Where long steps report.

        Raises:
            DataError: Files are missing or malformed, or no row is left.
        """

    def check(self, cache: Path, progress: Progress) -> Findings | None:
        """Say what is in the files and what is wrong with them, as far as it can be told; do not raise for bad data.

        The default gives None: the prepared data set is described.

        Args:
            cache: As in :meth:`prepare`.
            progress: Where long steps report.
        """
        return None

    @classmethod
    def recognises(cls, folder: Path) -> Mapping[str, Any] | None:
        """Return the options that read what lies in ``folder``, None where it does not look like this task's files."""
        return None
