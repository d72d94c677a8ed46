"""What observers see of a run: its plan, each cell as it is done, and the summary at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from fusionbench.config.sections import RANDOM_WEIGHTS, SYNTHETIC
from fusionbench.missingness.conditions import COMPLETE, condition_label
from fusionbench.plan.arithmetic import FLOAT32, Arithmetic
from fusionbench.plan.jobs import FitJob, StudyJob
from fusionbench.plan.lines import Line
from fusionbench.plan.parts import Arm
from fusionbench.store.results import Store
from fusionbench.store.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

    from fusionbench.config.sections import Benchmark
    from fusionbench.contract.blocks import Section
    from fusionbench.contract.data import Dataset
    from fusionbench.contract.papers import Paper
    from fusionbench.missingness.conditions import Condition
    from fusionbench.plan.estimates import Estimate, Outlook
    from fusionbench.progress import Progress


@dataclass(frozen=True)
class RunPlan:
    """What a run is going to do, as observers see it before the first model is trained."""

    benchmark: Benchmark
    dataset: Dataset
    arms: Sequence[Arm]
    conditions: Sequence[Condition]
    folds: Sequence[int]
    studies: Sequence[StudyJob]
    fits: Sequence[FitJob]
    stored: frozenset[str]
    workspace: Path
    random_weights: tuple[str, ...]
    data_digest: str
    kept: frozenset[str] = frozenset()
    """Keys of trained models that only have to be scored under more conditions."""
    only: str | None = None
    """Pattern (as of a shell) of the arms that are worked on; None: all."""
    share: frozenset[str] | None = None
    """Keys of the models that are worked on, where others are left to other processes; None: all."""
    identities: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What decides results beside the arms: task, encoders, mechanism."""
    file: Path | None = None
    """The benchmark file, where there is one; says which git revision was run."""
    mapped: frozenset[str] = frozenset()
    """Keys of the models whose imputed embeddings are mapped."""
    untuned: Sequence[FitJob] = ()
    """Models with the defaults, beside those that are tuned; they stand in no table but that of what tuning gained."""
    arithmetic: Arithmetic = FLOAT32
    """What models compute in, and where that is not what was asked for, why."""
    protocol: tuple[str, ...] = ()
    """What is the same for every line, and what is not: depth of heads, epochs, what changes updates; one sentence each."""
    robustness: Mapping[str, RunPlan] = field(default_factory=dict)
    """By name, what is going to be done under other protocol settings, after everything else."""
    papers: tuple[Paper, ...] = ()
    """Papers whose published values are looked at."""
    opened: Store | None = field(default=None, repr=False, compare=False)
    """The result store of the run that made this plan; read :attr:`store`, which is always there."""

    @cached_property
    def folders(self) -> Workspace:
        """Where everything lies in the workspace."""
        return Workspace(self.workspace)

    @cached_property
    def store(self) -> Store:
        """The result store, open."""
        return self.opened if self.opened is not None else Store(self.folders.results.root)

    @property
    def todo(self) -> list[FitJob]:
        """Models that are not stored with every condition, of the arms that are worked on."""
        return [f for f in self.mine if f.key not in self.stored]

    @property
    def mine(self) -> list[FitJob]:
        """Models of the arms, and of the share, that are worked on."""
        every = [*self.fits, *self.untuned]
        return [f for f in every if self.wants(f.arm) and (self.share is None or f.key in self.share)]

    def emptied(self) -> RunPlan:
        """Return the plan as it were if nothing was stored."""
        others = {name: plan.emptied() for name, plan in self.robustness.items()}
        return replace(self, stored=frozenset(), kept=frozenset(), robustness=others)

    @property
    def to_train(self) -> list[FitJob]:
        """Models that are neither stored nor kept."""
        return [f for f in self.todo if f.key not in self.kept]

    @property
    def to_tune(self) -> set[str]:
        """Keys of the studies that the models to train need."""
        return {f.study for f in self.to_train if not f.untuned}

    @cached_property
    def tuned_models(self) -> Mapping[str, int]:
        """By study, how many models its trials are at most: one for each inner fold."""
        return {s.key: self.benchmark.tuning.trials * s.inner for s in self.studies}

    @cached_property
    def inner_folds(self) -> str:
        """Over how many inner folds trials are compared, in words: ``3``, ``2 to 4``; empty: on the fold's own split alone."""
        numbers = {s.inner for s in self.studies} if self.benchmark.tuning.trials else set()
        if max(numbers, default=1) == 1:
            return ""
        return str(min(numbers)) if len(numbers) == 1 else f"{min(numbers)} to {max(numbers)}"

    def wants(self, arm: Arm) -> bool:
        """Whether an arm is worked on."""
        return self.only is None or any(fnmatchcase(name, self.only) for name in (arm.title, arm.label))

    @property
    def cells(self) -> int:
        """Number of cells: fits, each under every condition it is scored under."""
        return sum(len(f.points) for f in self.fits)

    @property
    def cells_stored(self) -> int:
        """How many of them are stored."""
        return sum(len(f.points) for f in self.fits if f.key in self.stored)

    @cached_property
    def _names(self) -> Mapping[tuple[str, str], str]:
        """By strategy and imputer of a line, its name for readers."""
        imputers = Counter(a.title for a in self.arms)
        found = {
            (a.title, a.imputer_name): f"{a.display} / {a.imputer_name}" if imputers[a.title] > 1 else a.display
            for a in self.arms
        }
        repeated = {name for name, times in Counter(found.values()).items() if times > 1}
        return {arm: Line(*arm).label if name in repeated else name for arm, name in found.items()}

    def called(self, line: Line) -> str:
        """Return what readers call a line: its title, with the imputer where the strategy has several."""
        name = self._names.get((line.strategy, line.imputer), Line(line.strategy, line.imputer).label)
        return f"{name} (trained at {line.variant})" if line.variant else name

    @cached_property
    def ribbons(self) -> tuple[str, ...]:
        """What every output must say of its numbers."""
        marks = [SYNTHETIC] if self.dataset.synthetic else []
        if self.random_weights:
            marks.append(f"{RANDOM_WEIGHTS}: {', '.join(self.random_weights)}")
        return tuple(marks)


@dataclass(frozen=True)
class CellOutcome:
    """One fit, when it is stored, read back (also to be scored under more conditions), or has failed."""

    job: FitJob
    stored_before: bool
    failure: str | None = None

    @property
    def name(self) -> str:
        """The model in words, for messages."""
        trained = "" if self.job.condition == COMPLETE else f", trained at {condition_label(self.job.condition)}"
        untuned = ", untuned" if self.job.untuned else ""
        return f"{self.job.arm.label}, fold {self.job.fold}, seed {self.job.seed}{trained}{untuned}"


@dataclass
class Worked:
    """What was tuned and trained: by this process, or by others that it started.

    Args:
        trained: Keys of the models that were trained and stored.
        failures: By key of a model or a study that failed, its name and the reason.
        interrupted: Whether it was stopped by hand.
        seconds: What it took, where others did it.
    """

    trained: set[str] = field(default_factory=set)
    failures: dict[str, tuple[str, str]] = field(default_factory=dict)
    interrupted: bool = False
    seconds: float = 0.0

    def failed(self, fit: FitJob) -> bool:
        """Whether a model, or the study that it needs, is among the failures."""
        return fit.key in self.failures or fit.study in self.failures

    @property
    def exit_code(self) -> int:
        """0 all is done, 1 some failed, 130 interrupted."""
        return 130 if self.interrupted else int(bool(self.failures))


@dataclass(frozen=True)
class Tables:
    """What a run found.

    Args:
        cells: One row for each cell: arm, fold, seed, condition, every metric, achieved rate, mask digest.
        curves: One row for each arm and condition: metrics with intervals, ceiling and regret.
        leaderboard: One row for each arm: area under the curves with interval, group, ledger; and the constant prediction.
        subsets: One row for each arm and subset of the modalities, scored without hiding anything else.
        modalities: One row for each arm and modality: Shapley value and laziness drop.
        comparisons: One row for each pair of lines: how they differ if trained again, and as these models.
        differences: One row for each line and point of its curves, and one for its area: how far it lies from the baseline.
        calibration: One row for each arm and bin of predictions on complete data: predicted and observed.
        design: One row: what was compared, how certain it can be, and what was not seen.
        trials: One row for each trial of tuning: its score and the best so far in its study.
        readings: One row for each subset of the modalities and fold: the AUROC of the line that makes the most of the subset.
    """

    cells: pd.DataFrame
    curves: pd.DataFrame
    leaderboard: pd.DataFrame
    subsets: pd.DataFrame
    modalities: pd.DataFrame
    comparisons: pd.DataFrame
    differences: pd.DataFrame
    calibration: pd.DataFrame
    design: pd.DataFrame
    trials: pd.DataFrame
    readings: pd.DataFrame


PUBLISHED = ["paper", "table", "row", "column", "task", "metric", "measure", "pattern", "rate", "published"]
PUBLISHED += [
    "strategy",
    "imputer",
    "ours",
    "ours_low",
    "ours_high",
    "difference",
    "cohort",
    "protocol",
    "obtained",
    "hand",
]


SCORES = ["strategy", "imputer", "trained_at", "fold", "seed", "epoch", "score", "models"]


def _empty(columns: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(columns=list(columns))


MAP_LINE = ["strategy", "imputer", "modality"]
MAP_NUMBERS = ["rows", "error", "distance", "spread", "explained", "hidden_true", "hidden_filled"]
MAP_CELLS = ["which", "first", "second", "width", "rows"]


class Maps(NamedTuple):
    """The maps of a run as tables.

    Args:
        numbers: One row for each arm and modality: ``strategy``, ``imputer``, ``modality`` and :data:`MAP_NUMBERS`.
        cells: One row for each cell that is shown: ``which`` (``true`` or ``imputed``), its middle (``first``, ``second``, in
            standard deviations), its width and ``rows``.
    """

    numbers: pd.DataFrame
    cells: pd.DataFrame

    @classmethod
    def empty(cls) -> Maps:
        """Return the tables of a run that maps nothing."""
        return cls(*(_empty([*MAP_LINE, *more]) for more in (MAP_NUMBERS, MAP_CELLS)))


SETTING_COLUMNS = ["setting", "changes", "strategy", "imputer", "trained_at", "rank", "area", "area_low", "area_high"]
SETTING_COLUMNS += ["group", "p_best", "times_first", "settings"]
AGREEMENT_COLUMNS = ["setting", "other", "lines", "kendall_tau_b", "spearman"]
AGREEMENT_COLUMNS += ["first_in_both", "first_in_either", "same_leader"]


class Robustness(NamedTuple):
    """How much of the verdict survives other protocol settings; tables of :mod:`fusionbench.analysis.ranking.robustness`.

    Args:
        lines: One row for each line and setting.
        agreement: One row for each two settings: how alike they rank.
    """

    lines: pd.DataFrame
    agreement: pd.DataFrame

    @classmethod
    def empty(cls) -> Robustness:
        """Return the tables of a run under one setting."""
        return cls(_empty(SETTING_COLUMNS), _empty(AGREEMENT_COLUMNS))


class Expected(NamedTuple):
    """What became of one expectation.

    Args:
        says: The sentence of the benchmark file.
        verdict: ``held``: it was shown; ``failed``: the opposite was shown; ``not shown``: neither was.
        numbers: What that rests on, one sentence each.
    """

    says: str
    verdict: Literal["held", "failed", "not shown"]
    numbers: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """What a run says to a person who has one minute.

    Args:
        question: What was asked.
        average: What to use on average over everything that was hidden.
        missing: What when much is missing.
        cost: What is not worth its cost.
    """

    question: str
    average: str
    missing: str
    cost: str

    @property
    def sentences(self) -> tuple[str, str, str]:
        """The three sentences, in order."""
        return self.average, self.missing, self.cost


@dataclass
class RunSummary:
    """What a run leaves, for observers, tables and the report."""

    plan: RunPlan
    tables: Tables
    traces: pd.DataFrame
    failures: list[tuple[str, str]]
    trained: int
    seconds: float
    interrupted: bool = False
    notes: list[str] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)
    sections: list[Section] = field(default_factory=list)
    """What observers add to the report."""
    answer: Answer | None = None
    """The question and three sentences; None where nothing could be scored."""
    baseline: Line | None = None
    """The line that differences are taken from; None where nothing is compared."""
    processor: float = 0.0
    """Seconds that processors worked, of this process and those that it started."""
    maps: Maps = field(default_factory=Maps.empty)
    """Where imputed embeddings lie beside the true ones, as counts."""
    robustness: Robustness = field(default_factory=Robustness.empty)
    """Every line under other protocol settings."""
    expectations: tuple[Expected, ...] = ()
    """What became of what the benchmark file expects."""
    scores: pd.DataFrame = field(default_factory=partial(_empty, SCORES))
    """The validation score of every epoch: table of :mod:`fusionbench.analysis.epochs`."""
    published: pd.DataFrame = field(default_factory=partial(_empty, PUBLISHED))
    """Values of papers beside ours: table of :mod:`fusionbench.analysis.published`."""

    @property
    def exit_code(self) -> int:
        """0 all cells done, 1 some failed, 130 interrupted."""
        return 130 if self.interrupted else int(bool(self.failures))


# --------------------------------------------------------------------------------------------
# what a command says


class PanelOutcome(NamedTuple):
    """How one panel of a benchmark file ended.

    Args:
        name: Of the panel.
        code: The exit code that it alone would have given.
        reason: Why it could not be run; empty: it was run.
        expectations: What became of what it expects.
    """

    name: str
    code: int
    reason: str = ""
    expectations: tuple[Expected, ...] = ()


class Display(Protocol):
    """Where ``run`` says what goes on."""

    progress: Progress

    @property
    def observers(self) -> list[Any]:
        """Objects with ``fusionbench_*`` hooks that follow the run for the display."""

    def panel(self, benchmark: Benchmark, number: int, of: int) -> None:
        """Say that one panel of several begins, counted from 1."""

    def begin(self, benchmark: Benchmark) -> None:
        """Say what must be known before anything of a benchmark is read: that it is a demo."""

    def plan(self, plan: RunPlan) -> None:
        """Say what the data are and what will be done."""

    def estimate(self, estimate: Estimate) -> None:
        """Say how long training takes at most."""

    def placed(self, outlook: Outlook) -> None:
        """Say what an executor is going to do."""

    def summary(self, summary: RunSummary) -> None:
        """Say what was found, what failed and where everything lies."""

    def share(self, share: str, worked: Worked, following: str) -> None:
        """Say what one share of a run did, and which command makes the tables of all."""

    def all_planned(self, plans: Sequence[RunPlan], estimate: Estimate) -> None:
        """Say what all panels come to."""

    def panels(self, outcomes: Sequence[PanelOutcome], page: Path | None, seconds: float) -> None:
        """Say how all panels ended, and where the page of all lies."""

    def ended(self, code: int, reason: str = "") -> None:
        """Say that the command ends with an exit code; the reason, where it is not in the summary."""
