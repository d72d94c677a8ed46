"""Tuning: the same number of Optuna trials for every arm and fold, on training and validation rows only.

Trials are asked for in rounds, all studies of a round are trained together as populations, and then told.
The sampler is seeded anew for each trial by its number, so that a study that was killed and resumed makes
the same suggestions as one that was not. A finished study is sealed: its trials, the winner and a digest are
stored, and only that digest opens test rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fusionbench.config import Benchmark, TuningSection
from fusionbench.execution import Job, train_jobs
from fusionbench.keys import digest
from fusionbench.plan import StudyJob
from fusionbench.progress import Stage
from fusionbench.results import Store
from fusionbench.seeding import seed_for
from fusionbench.training import Fit

COMMON = ("learning_rate", "weight_decay")

MakeJob = Callable[[StudyJob, Mapping[str, Any], Any], Job]


@dataclass(frozen=True)
class Winner:
    """What a sealed study chose.

    Args:
        common: Learning rate and weight decay.
        own: Options of the strategy.
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
    stage: Stage,
) -> tuple[dict[str, Winner], dict[str, str]]:
    """Finish every study.

    Args:
        studies: What to tune; sealed ones are only read.
        benchmark: Budget, ranges, training settings.
        store: Where journals and seals lie.
        metric: What trials are compared by.
        make_job: Makes a training job, of training and validation rows only, from a study, suggested options, and an owner.
        stage: Advanced by one for each trial.

    Returns:
        Winners by study key, and for studies without one usable trial the reason.
    """
    settings = benchmark.tuning
    if settings.trials == 0:
        defaults = Winner(_defaults(benchmark), {}, digest(["defaults", _defaults(benchmark)]), 0, 0, 0.0)
        return {s.key: defaults for s in studies}, {}
    sealed = {s.key: found for s in studies if (found := store.sealed_study(s.key)) is not None}
    stage.advance(settings.trials * len(sealed), "stored")
    open_studies = {s.key: _Study(s, benchmark, store) for s in studies if s.key not in sealed}
    for last in _rounds(settings):
        asked = [(study, trial) for study in open_studies.values() for trial in study.ask(last)]
        jobs = [make_job(study.job, study.suggest(trial), trial) for study, trial in asked]
        outcomes: dict[int, Fit] = {}
        for trained in train_jobs(jobs, benchmark.training, metric, stage):
            outcomes.update({id(j.owner): f for j, f in zip(trained.jobs, trained.fits, strict=True)})
        for study, trial in asked:  # told in the order asked, whatever the order of training
            study.tell(trial, outcomes[id(trial)])
    failures = {}
    for key, study in open_studies.items():
        content = study.sealed_content()
        if content["winner"] is None:
            failures[key] = f"no trial succeeded; the first said: {content['trials'][0]['failure']}"
            continue
        store.seal_study(key, content)
        sealed[key] = content
    return {key: _winner(content) for key, content in sealed.items()}, failures


def _rounds(settings: TuningSection) -> Iterator[int]:
    """Yield the number of trials that must be finished after each round."""
    for start in range(0, settings.trials, settings.batch):
        yield min(start + settings.batch, settings.trials)


def _defaults(benchmark: Benchmark) -> dict[str, float]:
    return {name: getattr(benchmark.training, name) for name in COMMON}


class _Study:
    """One Optuna study in ask-and-tell."""

    def __init__(self, job: StudyJob, benchmark: Benchmark, store: Store) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.job, self._benchmark = job, benchmark
        self._study = optuna.create_study(
            storage=_storage(benchmark.tuning, store, job.key),
            study_name=job.key,
            direction="maximize",
            load_if_exists=True,
        )

    def ask(self, until: int) -> list[Any]:
        """Return the trials of a round that are not finished: those that a killed run left, then new ones."""
        import optuna

        trials = self._study.get_trials(deepcopy=False)
        left = [t for t in trials if t.state is optuna.trial.TrialState.RUNNING]
        asked = []
        for frozen in sorted(left, key=lambda t: t.number):
            self._seed(frozen.number)
            asked.append(optuna.trial.Trial(self._study, frozen._trial_id))  # noqa: SLF001 - no public way to go on with a trial
        for number in range(len(trials), until):
            if number == 0:
                self._study.enqueue_trial(_defaults(self._benchmark))  # tuned is never worse than not
            self._seed(number)
            asked.append(self._study.ask())
        return asked

    def _seed(self, number: int) -> None:
        """Seed the sampler by fold and trial, not by arm: every strategy starts from the same suggestions."""
        import optuna

        seed = seed_for("sampler", fold=self.job.fold, trial=number) % 2**32
        self._study.sampler = optuna.samplers.TPESampler(seed=seed)

    def suggest(self, trial: Any) -> dict[str, Any]:
        """Return the suggested options, common ones and the strategy's own."""
        tuning = self._benchmark.tuning
        self._seed(trial.number)
        common = {
            name: trial.suggest_float(name, r.low, r.high, log=r.log) if r is not None else value
            for name, value in _defaults(self._benchmark).items()
            for r in [tuning.common.get(name)]  # type: ignore[call-overload]
        }
        target: Any = self.job.arm.strategy.registration.target
        fixed = self.job.arm.strategy.options
        own = {k: v for k, v in (target.search_space(trial) if tuning.own else {}).items() if k not in fixed}
        trial.set_user_attr("own", own)  # what the search space made of the suggestions
        return {"common": common, "own": own}

    def tell(self, trial: Any, fit: Any) -> None:
        """Record how a trial went."""
        import optuna

        trial.set_user_attr("epochs", fit.epochs)
        trial.set_user_attr("seconds", fit.seconds)
        if fit.failure is not None or not math.isfinite(fit.score):
            trial.set_user_attr("failure", fit.failure or "the score is not finite")
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(trial, fit.score)

    def sealed_content(self) -> dict[str, Any]:
        """Return the finished study as plain data; the earliest of equal scores wins."""
        trials = [
            {
                "number": t.number,
                "params": t.params,
                "own": t.user_attrs.get("own", {}),
                "score": t.value,
                "failure": t.user_attrs.get("failure"),
                "epochs": t.user_attrs.get("epochs", 0),
                "seconds": t.user_attrs.get("seconds", 0.0),
            }
            for t in self._study.get_trials(deepcopy=False)[: self._benchmark.tuning.trials]
        ]
        usable = [t for t in trials if t["score"] is not None]
        best = max(usable, key=lambda t: (t["score"], -t["number"]), default=None)
        winner = None
        if best is not None:
            common = {**_defaults(self._benchmark), **{k: v for k, v in best["params"].items() if k in COMMON}}
            winner = {"number": best["number"], "common": common, "own": best["own"]}
        decided = [[t["number"], t["params"], t["score"]] for t in trials]
        return {
            "arm": self.job.arm.label,
            "fold": self.job.fold,
            "trials": trials,
            "winner": winner,
            "digest": digest([decided, winner]),
        }


def _storage(settings: TuningSection, store: Store, key: str) -> Any:
    if settings.storage is not None:
        return settings.storage
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(store.study_path(key))))


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
