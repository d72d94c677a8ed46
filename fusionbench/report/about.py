"""The sections about a run: what was asked, who is in the data, how it was done, with what, and what failed."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import yaml

from fusionbench import __version__
from fusionbench.analysis.words import NOTHING, arm_name, counted, listed, metric_name, number, percent, whole
from fusionbench.compatibility import installed_version, required
from fusionbench.contract.blocks import Block, Listing, Section, Table, Text
from fusionbench.contract.isolation import shared
from fusionbench.errors import without_secrets
from fusionbench.keys import PROTOCOL_VERSION
from fusionbench.store.results import Store

if TYPE_CHECKING:
    from fusionbench.plan.jobs import FitJob
    from fusionbench.records import RunPlan, RunSummary

# addresses may hold passwords
NOT_SHOWN: Any = {"tracking": True, "tuning": {"storage"}}
WHERE = {
    "test": "Models are trained on what the record has; modalities are hidden at test time.",
    "train": "Modalities are hidden from training and validation rows; test rows are as the record has them.",
    "both": "Modalities are hidden from training, validation and test rows alike.",
    "grid": "Models are trained under every condition, and each is tested under every condition.",
}


def protocol(summary: RunSummary) -> Section:
    """How the question was answered, in words."""
    return Section("Protocol", [Text("How the question was answered:", list(_protocol(summary.plan)))])


def expected_lines(summary: RunSummary) -> list[str]:
    """Return one line for each expectation: what was said, what became of it, and the numbers."""
    return [f"{e.says}: {e.verdict}. {'; '.join(e.numbers)}." for e in summary.expectations]


def _protocol(plan: RunPlan) -> Iterator[str]:
    benchmark, data = plan.benchmark, plan.dataset
    yield (
        f"Data: {data.description or benchmark.task.name}. {counted(len(data), 'row')} of "
        f"{counted(len(set(data.groups.tolist())), 'patient or group', 'patients or groups')}; modalities "
        f"{listed(list(data.modalities))}."
    )
    splits = benchmark.splits
    seeds = counted(len(splits.seeds), "seed")
    yield (
        f"Splits: {counted(len(plan.folds), 'fold')} by patient, {seeds} each; the same rows, masks, batch orders "
        "and seeds for every line, so that "
        "differences are paired. Test rows are opened once, after tuning is sealed."
    )
    missing = benchmark.missingness
    yield (
        f"Missing: patterns {listed(list(missing.patterns))} at {listed([percent(r) for r in missing.rates])}, "
        f"mechanism {missing.mechanism.name}. "
        f"{WHERE[missing.where]} A row always keeps one modality."
    )
    tuning = benchmark.tuning
    if tuning.trials:
        searched = listed([n.replace("_", " ") for n in tuning.common]) or "nothing in common"
        own = ", and what each strategy offers to search" if tuning.own else ""
        yield (
            f"Budget: {counted(tuning.trials, 'trial')} for each line and fold over {searched}{own}; at most "
            f"{counted(benchmark.training.epochs, 'epoch')}, patience {benchmark.training.patience}."
        )
    else:
        yield f"Budget: no tuning, every line with its defaults; at most {counted(benchmark.training.epochs, 'epoch')}."
    yield from plan.protocol
    evaluation = benchmark.evaluation
    yield (
        f"Numbers: {metric_name(data.metric)} selects and ranks. Intervals ({evaluation.confidence * 100:g} %), "
        "pairs and groups come from one rule: they hold the chance of training, as far as folds and seeds show it, and the "
        f"choice of patients. Metrics without a formula for it are judged with {evaluation.resamples:,} resamples."
    )


# --------------------------------------------------------------------------------------------
# data


def cohort(summary: RunSummary) -> Section:
    """The funnel, and what rows have."""
    data = summary.plan.dataset
    blocks: list[Block] = []
    if data.funnel:
        most = max(step.rows for step in data.funnel) or 1
        rows = [[step.step, step.note or NOTHING, whole(step.rows), percent(step.rows / most)] for step in data.funnel]
        caption = "How many rows each rule of the cohort left."
        blocks.append(Table(caption, ["step", "note", "rows", "of the largest"], rows, heads=2, name="cohort"))
    have = data.available.sum(axis=0)
    rows = [
        [name, modality.kind, whole(have[i]), percent(have[i] / len(data))]
        for i, (name, modality) in enumerate(data.modalities.items())
    ]
    blocks.append(
        Table("What the record has, before anything is hidden.", ["modality", "kind", "rows", "share"], rows, heads=2)
    )
    shares = data.target.reshape(len(data), -1)
    if data.kind == "multiclass":
        counts = [int((data.target == i).sum()) for i in range(len(data.outputs))]
    else:
        counts = [int(c) for c in shares.sum(axis=0)]
    rows = [[name, whole(c), percent(c / len(data))] for name, c in zip(data.shown_outputs, counts, strict=True)]
    blocks.append(Table("What is predicted.", ["label", "rows", "share"], rows))
    return Section("Cohort", blocks)


# --------------------------------------------------------------------------------------------
# hyper-parameters


def hyperparameters(plan: RunPlan, store: Store) -> Table | None:
    """Return what won for each line, fold and seed, with trials and scores of its study; None: nothing is stored."""
    rows = [row for fit in plan.fits if (row := _winner(fit, store)) is not None]
    if not rows:
        return None
    columns = ["strategy / imputer", "fold", "seed", "trained at", "trials", "best trial", "score", "lowest to highest"]
    caption = (
        "Hyper-parameters that won. "
        "Score: validation score of the best trial, higher is better; lowest to highest: over the trials that "
        "finished. "
        "A study tunes one line on one fold; its seeds share the winner."
    )
    return Table(
        caption, [*columns, "hyper-parameters"], rows, heads=1, words=True, name="hyperparameters", folded=True
    )


def _winner(fit: FitJob, store: Store) -> list[str] | None:
    result = store.load(fit.key)
    if result is None:
        return None
    study = store.sealed_study(fit.study) or {"trials": [], "winner": None}
    scores = [t["score"] for t in study["trials"] if t["score"] is not None]
    won = study["winner"]
    options = ", ".join(f"{k} {_option(v)}" for k, v in sorted(result.options.items()))
    trained = f"{fit.condition.pattern}@{fit.condition.rate:g}"
    return [
        arm_name(fit.arm.title, fit.arm.imputer_name),
        str(fit.fold),
        str(fit.seed),
        trained,
        str(len(study["trials"])),
        NOTHING if won is None else str(won["number"]),
        number(max(scores)) if scores else NOTHING,
        f"{number(min(scores))} to {number(max(scores))}" if scores else NOTHING,
        options,
    ]


def _option(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


# --------------------------------------------------------------------------------------------
# provenance


def identities(plan: RunPlan) -> dict[str, Mapping[str, Any]]:
    """Return what every part of a run is, by its role."""
    found: dict[str, Mapping[str, Any]] = dict(plan.identities)
    for arm in plan.arms:
        found[f"strategy {arm.strategy.registration.name}"] = arm.strategy.identity
        found[f"imputer {arm.imputer.registration.name}"] = arm.imputer.identity
        found |= {f"regulariser {r.registration.name}": r.identity for r in arm.regularisers}
    return found


def environment() -> dict[str, str]:
    """Return versions of Python, of the system's kind, and of what the package depends on."""
    found = {r.name: installed_version(r.name) or "not installed" for r in sorted(required(), key=lambda r: r.name)}
    return {"fusionbench": __version__, "protocol": str(PROTOCOL_VERSION), "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}", **found}  # fmt: skip


def provenance(summary: RunSummary) -> Section:
    """Data, plugins, versions, configuration, hyper-parameters."""
    plan = summary.plan
    parts = [[role, *_identity(found)] for role, found in identities(plan).items()]
    versions = [[name, found] for name, found in environment().items()]
    blocks: list[Block] = [
        Text(
            f"Data digest {plan.data_digest[:32]}. Every result is stored under a hash of the data, the plugins' "
            "sources, the settings and the seed; "
            "a changed part is trained again, and nothing else."
        ),
        Table(
            "Parts, with the hash of the source file each was defined in, and of the weights where they come "
            "from elsewhere.",
            ["part", "name", "distribution", "version", "source", "weights"],
            parts,
            words=True,
            folded=True,
        ),
        Table("Versions where this page was made.", ["package", "version"], versions, words=True, folded=True),
        Listing("Resolved configuration; folders are cut to their last part.", configuration(plan)),
    ]
    won = hyperparameters(plan, plan.store)
    return Section("Provenance", [*blocks, *([won] if won is not None else [])])


def _identity(found: Mapping[str, Any]) -> list[str]:
    """Name, distribution, version, and the beginnings of the hashes of source and weights."""
    hashes = [str(found.get(key) or NOTHING)[:12] for key in ("source", "fingerprint")]
    return [str(found["name"]), str(found["distribution"]), str(found["version"]) or NOTHING, *hashes]


def configuration(plan: RunPlan) -> str:
    """Return the benchmark as YAML, without addresses of servers and without the folders of this machine."""
    document = plan.benchmark.model_dump(mode="json", exclude=NOT_SHOWN, exclude_none=True)
    return yaml.safe_dump(_without_folders(without_secrets(document)), sort_keys=False, allow_unicode=True)


def _without_folders(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_folders(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_folders(v) for v in value]
    if isinstance(value, str) and PurePath(value).is_absolute():
        return f".../{PurePath(value).name}"
    return value


# --------------------------------------------------------------------------------------------
# failures


def missing(plan: RunPlan, store: Store) -> list[str]:
    """Say which models of a benchmark are not stored, line by line."""
    wanted: dict[str, list[bool]] = {}
    for fit in plan.fits:
        wanted.setdefault(fit.arm.label, []).append(store.scored(fit.key).issuperset(fit.labels))
    return [
        f"{label}: {counted(done.count(False), 'model')} of {len(done)} missing"
        for label, done in wanted.items()
        if not all(done)
    ]


def failures(summary: RunSummary) -> Section:
    """What failed, and what is not there."""
    blocks: list[Block] = []
    if summary.interrupted:
        blocks.append(Text("The run was interrupted; the same command goes on where it stopped."))
    absent = missing(summary.plan, summary.plan.store)
    if absent:
        blocks.append(
            Text("Not stored, and so not in the tables; lines with gaps have no interval and no rank:", absent)
        )
    if summary.failures:
        rows: Sequence[Sequence[str]] = [[name, shared(reason)] for name, reason in summary.failures]
        blocks.append(Table("Failed in this run; the next one tries again.", ["model", "reason"], rows, words=True))
    return Section("What failed", blocks or [Text("Nothing: every model of the plan was trained and scored.")])
