"""Tuning: the same number of Optuna trials for every arm and fold, on training and validation rows only.

Trials are asked for in rounds, all studies of a round are trained together as populations, and then told.
Every suggestion has a seed of its own (fold, trial, parameter) and looks at the rounds before its own only, so
that a study that was killed anywhere and resumed makes the same suggestions as one that was not. A finished study
is sealed: its trials, the winner and a digest are stored, and only that digest opens test rows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from fusionbench.config.sections import Benchmark, TuningSection
from fusionbench.contract.isolation import contained, reason_of, text_of
from fusionbench.errors import DataError, WorkspaceError
from fusionbench.keys import digest
from fusionbench.plan.jobs import StudyJob
from fusionbench.progress import ProgressStage
from fusionbench.run.capacity import Sizes
from fusionbench.run.execution import Job, train_jobs
from fusionbench.run.searching import (
    Named,
    best_of,
    common_among,
    common_of,
    defaults,
    first_trial,
    mean_of,
    sampler,
)
from fusionbench.store.results import Store
from fusionbench.store.studies import logged, study_digest
from fusionbench.training.members import Fit
from fusionbench.training.population import Population

MakeJob = Callable[[StudyJob, Mapping[str, Any], Any, int], Job]


class Asked(NamedTuple):
    """What a model of a trial was made from: its study, what was suggested, and the number of the inner fold."""

    study: StudyJob
    suggested: Mapping[str, Any]
    split: int = 0


@dataclass(frozen=True, eq=False)
class _Model:
    """One model of a trial: that of one inner fold."""

    trial: Any
    asked: Asked


Compare = Callable[[Sequence[Asked], Population], Sequence[float]]


@dataclass(frozen=True)
class Winner:
    """What a sealed study chose.

    Args:
        common: Learning rate and weight decay, and what else the benchmark searches for everybody.
        own: Options of the strategy, and of the imputer (``imputer.<name>``) and regularisers (``regulariser.<i>.<name>``).
        digest: Digest of the sealed study; it opens the test rows.
        trials: Trials spent.
        epochs: Epochs spent by them.
        seconds: Seconds spent by them.
    """

    common: dict[str, float]
    own: dict[str, Any]
    digest: str
    trials: int
    epochs: int
    seconds: float


def tune(
    studies: Sequence[StudyJob],
    benchmark: Benchmark,
    store: Store,
    metric: str,
    make_job: MakeJob,
    stage: ProgressStage,
    compare: Compare | None = None,
    sizes: Sizes | None = None,
    splits: Mapping[str, Sequence[int]] | None = None,
) -> tuple[dict[str, Winner], dict[str, str]]:
    """Finish every study.

    Args:
        studies: What to tune; sealed ones are only read.
        benchmark: Budget, ranges, training settings.
        store: Where journals and seals lie.
        metric: What trials are compared by.
        make_job: Makes a training job, of training and validation rows only, from a study, suggested options, an
            owner, and the number of an inner fold.
        stage: Advanced by one for each model of a trial.
        compare: What trained trials are compared by (higher is better); None: the validation score of their best epoch.
        sizes: Sizes of populations that fit into memory; None: nothing is known of them.
        splits: By study key, the numbers of the inner folds over which trials are compared; None: the fold's own split alone.

    Returns:
        Winners by study key, and for studies without one usable trial the reason.

    Raises:
        WorkspaceError: A study cannot be stored, or another process is at it.
    """
    settings, sizes = benchmark.tuning, Sizes() if sizes is None else sizes
    inner = {s.key: (splits or {}).get(s.key, (0,)) for s in studies}
    if settings.trials == 0:
        return {s.key: untuned(benchmark) for s in studies}, {}
    read = {s.key: store.sealed_study(s.key) for s in studies}
    sealed = {key: found for key, found in read.items() if found is not None and found["winner"] is not None}
    stage.skip(settings.trials * sum(len(inner[key]) for key in sealed))
    to_do = [s for s in studies if s.key not in sealed]
    failures: dict[str, str] = {}
    try:
        with store.holding([s.key for s in to_do]):
            open_studies = [_Study(s, benchmark, store, inner[s.key]) for s in to_do]
            stage.skip(sum(s.finished * len(s.splits) for s in open_studies))
            for last in _rounds(settings):
                asked = [(s, t) for s in open_studies for t in s.ask(last)]
                _round(asked, benchmark, metric, make_job, stage, compare, sizes)
            for study in open_studies:
                _conclude(study, store, sealed, failures)
    except OSError as problem:  # of a journal
        raise WorkspaceError(f"the studies in {store.folder} cannot be written: {problem.strerror}") from problem
    except Exception as problem:
        if settings.storage is None or not _is_of_a_storage(problem):
            raise
        raise WorkspaceError(
            f"tuning.storage {settings.storage} cannot be used: {type(problem).__name__}: {text_of(problem)}\n"
            "  start the server, install its driver, mend the address, or leave 'storage' out"
        ) from None  # what stands behind it may name the password
    return {key: _winner(content) for key, content in sealed.items()}, failures


def _conclude(study: _Study, store: Store, sealed: dict[str, dict[str, Any]], failures: dict[str, str]) -> None:
    content = study.sealed_content()
    if content["winner"] is None:
        failures[study.job.key] = f"no trial succeeded; the first said: {content['trials'][0]['failure']}"
        study.discard()  # the next run tries again
        return
    store.seal_study(study.job.key, content)
    sealed[study.job.key] = content


def _round(
    asked: Sequence[tuple[_Study, Any]],
    benchmark: Benchmark,
    metric: str,
    make_job: MakeJob,
    stage: ProgressStage,
    compare: Compare | None,
    sizes: Sizes,
) -> None:
    """Train the trials of a round together, and tell each study how its own went."""
    jobs, outcomes = list[Job](), dict[int, dict[int, Fit]]()

    def score(trained: Sequence[Job], population: Population) -> list[dict[str, Any]]:
        assert compare is not None
        return [{"value": np.array(v, dtype=np.float32)} for v in compare([j.owner.asked for j in trained], population)]

    by_study: dict[_Study, list[Any]] = {}
    for study, trial in asked:
        by_study.setdefault(study, []).append(trial)
    waiting = list(by_study.items())
    for study, trial in asked:
        try:
            with contained(study.job.arm.label, ends=SystemExit):
                suggested = study.suggest(trial)
            jobs += [
                _with_floor(make_job(study.job, suggested, _Model(trial, Asked(study.job, suggested, k)), k), floor)
                for k, floor in zip(study.splits, study.floors(trial), strict=True)
            ]
        except (DataError, WorkspaceError, OSError):
            raise
        except Exception as problem:  # noqa: BLE001 - what a search space suggests may not be buildable
            outcomes[id(trial)] = {k: Fit(failure=reason_of(problem)) for k in study.splits}
            stage.advance(len(study.splits))
    scoring = None if compare is None else score
    settings = benchmark.training.model_copy(update={"traces": False})  # nobody draws a trial
    for trained in train_jobs(jobs, settings, metric, stage, scoring, sizes=sizes):
        for job, fit in zip(trained.jobs, trained.fits, strict=True):
            outcomes.setdefault(id(job.owner.trial), {})[job.owner.asked.split] = fit
        for fit, values in zip(trained.fits, trained.scores, strict=bool(compare)):
            fit.score = float(values["value"]) if values else math.nan
        _tell_finished(waiting, outcomes)
    _tell_finished(waiting, outcomes)  # also those of which no trial could be built


def _tell_finished(waiting: list[tuple[_Study, list[Any]]], outcomes: Mapping[int, Mapping[int, Fit]]) -> None:
    """Tell each study whose trials of the round are all trained, so that a run that is killed loses no more than it must.

    They are told in the order asked, whatever the order of training.
    """
    for study, trials in [
        (s, ts) for s, ts in waiting if all(len(outcomes.get(id(t), ())) == len(s.splits) for t in ts)
    ]:
        for trial in trials:
            study.tell(trial, [outcomes[id(trial)][k] for k in study.splits])
        study.keep()
        waiting.remove((study, trials))


def _with_floor(job: Job, floor: tuple[float, ...]) -> Job:
    return replace(job, member=replace(job.member, floor=floor)) if floor else job


def _rounds(settings: TuningSection) -> Iterator[int]:
    """Yield the number of trials that must be finished after each round."""
    for start in range(0, settings.trials, settings.batch):
        yield min(start + settings.batch, settings.trials)


def untuned(benchmark: Benchmark) -> Winner:
    """Return what a model without a study takes; the digest of the defaults opens its test rows."""
    return Winner(defaults(benchmark), {}, digest(["defaults", defaults(benchmark)]), 0, 0, 0.0)


def _is_of_a_storage(problem: Exception) -> bool:
    """Whether something was raised by what Optuna keeps trials in, or by the lack of a driver for it."""
    library = type(problem).__module__.partition(".")[0]
    return isinstance(problem, ImportError) or library in ("optuna", "sqlalchemy", "redis", "grpc")


class _Study:
    """One Optuna study in ask-and-tell."""

    def __init__(self, job: StudyJob, benchmark: Benchmark, store: Store, splits: Sequence[int]) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.job, self.splits, self._benchmark = job, splits, benchmark
        self._storage, self._write = _storage(benchmark.tuning, store, job.key)
        self._study = optuna.create_study(
            storage=self._storage,
            sampler=sampler(job.fold),
            study_name=job.key,
            direction="maximize",
            load_if_exists=True,
        )

    def ask(self, until: int) -> list[Any]:
        """Return the trials of a round that are not finished: those that a killed run left, then new ones."""
        from optuna.trial import Trial, TrialState

        trials = sorted(self._study.get_trials(deepcopy=False), key=lambda t: t.number)
        begun = [t for t in trials if t.state is not TrialState.WAITING]
        # those of a later round come with that round: what it suggests has to know how this one ended
        left = [t for t in begun if t.state is TrialState.RUNNING and t.number < until]
        asked = [Trial(self._study, t._trial_id) for t in left]  # noqa: SLF001 - no public way to go on with a trial
        for number in range(len(begun), until):
            if number == 0 and not trials:  # a killed run may have left it waiting
                self._study.enqueue_trial(first_trial(self._benchmark))
            asked.append(self._study.ask())
        return asked

    @property
    def finished(self) -> int:
        """How many trials an earlier run finished."""
        return sum(t.state.is_finished() for t in self._study.get_trials(deepcopy=False))

    def suggest(self, trial: Any) -> dict[str, Any]:
        """Return the suggested options, common ones and those of the arm's parts; the first trial takes the defaults."""
        tuning = self._benchmark.tuning
        common = common_of(trial, self._benchmark, searched=not self.job.arm.fitted)
        own = self._own(trial) if tuning.own and trial.number > 0 else {}  # tuned is never worse than not
        trial.set_user_attr("own", own)  # what the search space made of the suggestions
        return {"common": common, "own": own}

    def _own(self, trial: Any) -> dict[str, Any]:
        """What the search spaces of the strategy, the imputer and the regularisers make of a trial."""
        found: dict[str, Any] = {}
        for owner, part in self.job.arm.parts.items():
            target: Any = part.registration.target
            space = target.search_space(Named(trial, f"{owner}.") if owner else trial)
            found |= {f"{owner}.{k}" if owner else k: v for k, v in space.items() if k not in part.options}
        return found

    def floors(self, trial: Any) -> list[tuple[float, ...]]:
        """By inner fold and epoch, the median of the best scores that earlier rounds' trials had by then; empty: none stops.

        It does not look at the trial's own round, so that a study that was killed and resumed prunes alike.
        """
        from optuna.trial import TrialState

        tuning = self._benchmark.tuning
        if tuning.prune_after is None:
            return [()] * len(self.splits)
        before = trial.number - trial.number % tuning.batch
        finished = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        known = [t.user_attrs["history"] for t in finished if t.number < before]
        if len(self.splits) == 1:
            return [self._floor(known)]
        return [self._floor([histories[k] for histories in known]) for k in range(len(self.splits))]

    def _floor(self, known: Sequence[Sequence[float]]) -> tuple[float, ...]:
        after, epochs = self._benchmark.tuning.prune_after, self._benchmark.training.epochs
        if not known or after is None:
            return ()
        best = np.full((len(known), epochs), -math.inf)
        for line, history in zip(best, known, strict=True):
            reached = np.fmax.accumulate(np.array(history[:epochs], dtype=np.float64))
            line[: len(reached)], line[len(reached) :] = reached, reached[-1]
        floor = np.median(best, axis=0)
        floor[: round(after * epochs)] = -math.inf
        return tuple(floor.tolist())

    def keep(self) -> None:
        """Write what was told; what was only asked for is asked for again, and is the same."""
        self._write()

    def discard(self) -> None:
        """Forget every trial."""
        import optuna

        optuna.delete_study(study_name=self.job.key, storage=self._storage)
        self._write()

    def tell(self, trial: Any, fits: Sequence[Fit]) -> None:
        """Record how a trial went, from its model in each inner fold."""
        import optuna

        fit = mean_of(fits)
        trial.set_user_attr("epochs", fit.epochs)
        trial.set_user_attr("seconds", fit.seconds)
        trial.set_user_attr("loss", fit.loss if math.isfinite(fit.loss) else None)
        if self._benchmark.tuning.prune_after is not None:
            trial.set_user_attr("history", fit.history if len(fits) == 1 else [f.history for f in fits])
            trial.set_user_attr("pruned", fit.pruned)
        if len(fits) > 1:
            trial.set_user_attr("inner", [f.score if math.isfinite(f.score) else None for f in fits])
        if fit.failure is not None or not math.isfinite(fit.score):
            trial.set_user_attr("failure", fit.failure or "the score is not finite")
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(trial, fit.score)

    def sealed_content(self) -> dict[str, Any]:
        """Return the finished study as plain data, with the winner of :func:`best_of`."""
        trials = [
            {
                "number": t.number,
                "params": t.params,
                "own": t.user_attrs.get("own", {}),
                "score": t.value,
                "loss": t.user_attrs.get("loss"),
                "failure": t.user_attrs.get("failure"),
                "epochs": t.user_attrs.get("epochs", 0),
                "seconds": t.user_attrs.get("seconds", 0.0),
                **{what: t.user_attrs[what] for what in ("pruned", "inner") if what in t.user_attrs},
            }
            for t in self._study.get_trials(deepcopy=False)[: self._benchmark.tuning.trials]
        ]
        usable = [t for t in trials if t["score"] is not None]
        best = best_of(usable)
        winner = None
        if best is not None:
            common = {**defaults(self._benchmark), **common_among(best["params"])}
            winner = {"number": best["number"], "common": common, "own": best["own"]}
        return {
            "arm": self.job.arm.label,
            "fold": self.job.fold,
            "trials": trials,
            "winner": winner,
            "digest": study_digest(trials, winner),
        }


class _Held:
    """The journal's lock: the store's own lock keeps other processes out, and is let go of by one that is killed."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def _storage(settings: TuningSection, store: Store, key: str) -> tuple[Any, Callable[[], None]]:
    """Return where trials are kept, and what writes those that are not written yet.

    A journal is written when a study is told and not after every suggestion: each time waits for the disk, thousands of
    times in a sweep of short trainings.
    """
    if settings.storage is not None:
        return settings.storage, lambda: None
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path = store.journal(key)

    class Hashed(JournalFileBackend):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(str(path), lock_obj=_Held())
            self._all = list(super().read_logs(0))
            self._written = len(self._all)

        def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
            return iter(self._all[log_number_from:])

        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            self._all += json.loads(json.dumps(logs))  # as they would be read

        def write(self) -> None:
            new = self._all[self._written :]
            if new:
                super().append_logs([logged(log, key, self._written + i) for i, log in enumerate(new)])
                self._written = len(self._all)

    journal = Hashed()
    return JournalStorage(journal), journal.write


def _winner(content: Mapping[str, Any]) -> Winner:
    trials = content["trials"]
    return Winner(
        common=dict(content["winner"]["common"]),
        own=dict(content["winner"]["own"]),
        digest=content["digest"],
        trials=len(trials),
        epochs=sum(t["epochs"] for t in trials),
        seconds=sum(t["seconds"] for t in trials),
    )
