"""What a program reads while a run goes on: one JSON object a line.

Names of strategies, counts, metrics and paths of what was written; nothing about a row. Keys may be added; those that
are there keep their meaning.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from fusionbench.config.sections import SYNTHETIC
from fusionbench.contract.registration import hookimpl
from fusionbench.progress import Progress, ProgressStage, SilentProgress
from fusionbench.screen.meter import Clock, MeteredStage, Standing
from fusionbench.screen.words import planned_models_of_trials, planned_trials

if TYPE_CHECKING:
    from fusionbench.config.sections import Benchmark
    from fusionbench.plan.estimates import Estimate, Outlook
    from fusionbench.records import CellOutcome, PanelOutcome, RunPlan, RunSummary, Worked

JSON_EVERY_SECONDS = 1.0


class JsonLines:
    """One JSON object a line: ``event`` says what it is, the other keys what happened.

    Args:
        file: Where they are written.
        quiet: Leave out stages and notes.
    """

    def __init__(self, file: TextIO, quiet: bool = False) -> None:
        self._file = file
        self.progress: Progress = SilentProgress() if quiet else JsonProgress(self)
        self.observers: list[Any] = [self]

    def say(self, event: str, **what: Any) -> None:
        """Write one object; numbers that are none (NaN, infinity) become null."""
        self._file.write(json.dumps({"event": event, **_strict(what)}, allow_nan=False) + "\n")
        self._file.flush()

    def panel(self, benchmark: Benchmark, number: int, of: int) -> None:
        """Write that a panel begins; what follows is of it, until the next one."""
        self.say(
            "panel", benchmark=benchmark.name, title=benchmark.title, question=benchmark.question, number=number, of=of
        )

    def begin(self, benchmark: Benchmark) -> None:
        """Write that a demo begins."""
        if benchmark.is_demo:
            self.say("ribbon", message=SYNTHETIC)

    def plan(self, plan: RunPlan) -> None:
        """Write the plan."""
        data = plan.dataset
        self.say(
            "plan",
            benchmark=plan.benchmark.name,
            workspace=str(plan.workspace),
            ribbons=plan.ribbons,
            rows=len(data),
            modalities={n: int(data.available[:, i].sum()) for i, n in enumerate(data.modalities)},
            arms=[arm.label for arm in plan.arms],
            cells=plan.cells,
            stored=plan.cells_stored,
            models=len(plan.to_train),
            trials=planned_trials(plan),
            models_of_trials=planned_models_of_trials(plan),
            arithmetic=plan.arithmetic.record,
            protocol=list(plan.protocol),
            robustness=[
                {
                    "name": name,
                    "cells": other.cells,
                    "stored": other.cells_stored,
                    "models": len(other.to_train),
                    "trials": planned_trials(other),
                    "models_of_trials": planned_models_of_trials(other),
                }
                for name, other in plan.robustness.items()
            ],
        )

    def estimate(self, estimate: Estimate) -> None:
        """Write the estimate."""
        self.say("estimate", seconds=estimate.seconds, failures=[_failure(*f) for f in estimate.failures.items()])

    def placed(self, outlook: Outlook) -> None:
        """Write what an executor is going to do."""
        self.say("placed", **asdict(outlook), elapsed=outlook.elapsed)

    @hookimpl
    def fusionbench_cell_finished(self, outcome: CellOutcome) -> None:
        """Write that a model is scored and stored, was stored before, or has failed."""
        job = outcome.job
        self.say(
            "cell",
            strategy=job.arm.title,
            imputer=job.arm.imputer_name,
            fold=job.fold,
            seed=job.seed,
            trained_at=f"{job.condition.pattern}@{job.condition.rate:g}",
            conditions=len(job.points),
            stored_before=outcome.stored_before,
            failure=outcome.failure,
        )

    def summary(self, summary: RunSummary) -> None:
        """Write failures, notes, the leaderboard's lines and the files."""
        for failed in summary.failures:
            self.say("failure", **_failure(*failed))
        for note in summary.notes:
            self.say("note", message=note)
        if summary.answer is not None:
            self.say("answer", **asdict(summary.answer))
        for row in summary.tables.differences.to_dict("records"):
            self.say("difference", **{str(k): v for k, v in row.items()})
        for row in summary.tables.leaderboard.to_dict("records"):
            self.say("leaderboard", **{str(k): v for k, v in row.items()})
        for row in summary.robustness.agreement.to_dict("records"):
            self.say("robustness", **{str(k): v for k, v in row.items()})
        for expected in summary.expectations:
            self.say("expectation", **expected._asdict())
        for name, path in summary.files.items():
            self.say("file", name=name, path=str(path))
        self.say(
            "done",
            trained=summary.trained,
            seconds=summary.seconds,
            processor=summary.processor,
            interrupted=summary.interrupted,
        )

    def share(self, share: str, worked: Worked, following: str) -> None:
        """Write what one share of a run did."""
        failures = [{"key": key, **_failure(*failed)} for key, failed in worked.failures.items()]
        trained, interrupted = len(worked.trained), worked.interrupted
        self.say("share", share=share, trained=trained, failures=failures, interrupted=interrupted, next=following)

    def all_planned(self, plans: Sequence[RunPlan], estimate: Estimate) -> None:
        """Write what all panels come to."""
        self.say(
            "all_planned",
            panels=len(plans),
            cells=sum(p.cells for p in plans),
            stored=sum(p.cells_stored for p in plans),
            models=sum(len(p.to_train) for p in plans),
            trials=sum(map(planned_trials, plans)),
            models_of_trials=sum(map(planned_models_of_trials, plans)),
            seconds=estimate.seconds,
        )

    def panels(self, outcomes: Sequence[PanelOutcome], page: Path | None, seconds: float) -> None:
        """Write how all panels ended."""
        ended = [
            {**outcome._asdict(), "expectations": [e._asdict() for e in outcome.expectations]} for outcome in outcomes
        ]
        self.say("panels", panels=ended, page=None if page is None else str(page), seconds=seconds)

    def ended(self, code: int, reason: str = "") -> None:
        """Write the last line."""
        self.say("exit", code=code, reason=reason or None)


class JsonProgress:
    """Stages and notes as JSON lines; a stage that is under way says so once a second at most."""

    def __init__(self, lines: JsonLines, clock: Clock = time.monotonic) -> None:
        self._lines, self._clock = lines, clock
        self._standing = Standing()
        self._said = 0.0

    @contextmanager
    def stage(self, title: str, total: float | None = None, unit: str = "") -> Iterator[ProgressStage]:
        """Write a line when the stage begins, now and then, and when it ends."""
        self._lines.say("stage", state="begun", title=title, done=0, total=total, unit=unit)
        stage = MeteredStage(title, total, unit, self._standing, self._now_and_then, self._clock)
        self._said = stage.meter.start
        yield stage
        self._say("done", stage)

    def note(self, message: str) -> None:
        """Write a line."""
        self._lines.say("note", message=message)

    def _now_and_then(self, stage: MeteredStage) -> None:
        now = self._clock()
        if now - self._said >= JSON_EVERY_SECONDS:
            self._said = now
            self._say("running", stage)

    def _say(self, state: str, stage: MeteredStage) -> None:
        meter = stage.meter
        self._lines.say(
            "stage",
            state=state,
            title=stage.title,
            done=meter.done,
            total=meter.total,
            unit=stage.unit,
            seconds=meter.elapsed,
            rate=meter.rate,
            seconds_left=meter.left,
            best=None if stage.best is None else asdict(stage.best),
            note=stage.note,
        )


def _strict(value: Any) -> Any:
    """The value as JSON has it: numbers of arrays as numbers, none for what is no number."""
    if isinstance(value, Mapping):
        return {str(k): _strict(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(v) for v in value]
    if hasattr(value, "item"):
        return _strict(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _failure(cell: str, reason: str) -> dict[str, str]:
    return {"cell": cell, "reason": reason}
