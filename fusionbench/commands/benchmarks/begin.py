"""``fusionbench init``: a benchmark file for data that are there, from what the check of these data sees."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from fusionbench.commands.data_check import check_task
from fusionbench.commands.data_tasks import tasks_for
from fusionbench.config.sections import Benchmark
from fusionbench.contract.batch import InputSpec
from fusionbench.contract.registration import GIVEN
from fusionbench.data.preparation import prepare_task
from fusionbench.errors import ConfigError, DataError, FusionBenchError, WorkspaceError
from fusionbench.plan.parts import ModalityPart, Part
from fusionbench.plugins.proposals import proposed_encoders
from fusionbench.plugins.resolving import resolve
from fusionbench.training.blueprint import Blueprint

if TYPE_CHECKING:
    from fusionbench.contract.data import Dataset, Modality
    from fusionbench.plugins.catalogue import Plugins
    from fusionbench.progress import Progress

WIDTH: Final = 32
RATES: Final = (0, 0.3, 0.6)
FOLDS: Final = 5
MOST_PATTERNS: Final = 4
COMMON: Final = {
    "learning_rate": {"low": 3.0e-4, "high": 3.0e-2, "log": True},
    "weight_decay": {"low": 1.0e-3, "high": 1.0, "log": True},
}


@dataclass(frozen=True)
class Wished:
    """What the user wants of the new file.

    Args:
        path: Where it is written.
        data: Folder of the data.
        task: Which task reads them, where several can.
        options: ``task.KEY=VALUE``.
        strategies: By name; none: every one that fits these data with its defaults.
        trials: Of tuning, for each arm and fold.
        seeds: Repetitions.
        workspace: Where the task keeps what it prepares.
    """

    path: Path
    data: Path
    task: str | None = None
    options: Sequence[str] = ()
    strategies: Sequence[str] = ()
    trials: int = 4
    seeds: int = 1
    workspace: Path = Path("runs")


def begin(wished: Wished, plugins: Plugins, progress: Progress, ask: Callable[[str], str] | None) -> Iterator[str]:
    """Check the data, write the file, and say what was found and what comes next.

    Args:
        wished: What is wanted.
        plugins: What tasks and strategies are looked up in.
        progress: Where long steps report.
        ask: Asks for one more option of the task, where the data have problems; None: nobody is there to be asked.

    Raises:
        ConfigError: The file is there already, or no task reads the folder.
        DataError: The data have problems.
    """
    if wished.path.exists():
        raise ConfigError(f"{wished.path} is there already; name another file, or remove it")
    if wished.path.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"{wished.path}: a benchmark file ends in .yaml")
    options = list(wished.options)
    while True:
        part = tasks_for(wished.data.resolve(), wished.task, options, plugins)[0]
        lines = check_task(part, wished.workspace, progress).lines
        yield from lines
        problems = [line for line in lines if line.startswith("problem:")]
        if not problems:
            break
        if ask is None:
            raise DataError(
                f"{wished.data}: {len(problems)} problems, above; options of the task may mend them: --set task.KEY=VALUE "
                f"('fusionbench show {part.registration.name}' lists them)"
            )
        options.append(ask(f"option of the task '{part.registration.name}' that mends it, as task.target=died"))
    data = prepare_task(part, wished.workspace, progress)
    document, left_out = propose(part, data, plugins, wished)
    _write(wished.path, _text(document, data, left_out))
    yield f"written: {wished.path}: {len(document['strategies'])} strategies, {len(data):,} rows, {', '.join(data.modalities)}"
    yield from (f"left out: {name}: {reason}" for name, reason in left_out.items())


def propose(part: Part, data: Dataset, plugins: Plugins, wished: Wished) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the document of a benchmark of these data, and the strategies that do not fit them with the reason."""
    encoders = _encoders(data, plugins)
    split = data.split is not None or data.folds is not None
    splits: dict[str, Any] = {"source": "task"} if split else {"folds": FOLDS}
    if data.split is None and data.folds is not None:
        splits["folds"] = int(data.folds.max()) + 1
    document = {
        "name": wished.path.stem,
        "question": f"Which fusion strategy should predict {_label(data)} when {' or '.join(data.modalities)} is missing?",
        "task": {"name": part.registration.name, **part.options},
        "encoders": encoders,
        "model": {"width": WIDTH},
        "imputers": ["zero"],
        "strategies": [],
        "missingness": {"patterns": ["random", *data.modalities][:MOST_PATTERNS], "rates": list(RATES)},
        "splits": {**splits, "seeds": list(range(wished.seeds))},
        "training": {"epochs": 50},
        "tuning": {"trials": wished.trials, "common": COMMON} if wished.trials else {"trials": 0},
    }
    if len(data.modalities) == 1:
        document["missingness"] = {"patterns": ["random"], "rates": [0]}
    names, left_out = list(wished.strategies), dict[str, str]()
    if not names:
        for name in plugins.names("strategies"):
            reason = _misfit(name, document, data, plugins)
            if reason is None:
                names.append(name)
            else:
                left_out[name] = reason
    document["strategies"] = names
    return document, left_out


def _label(data: Dataset) -> str:
    return data.outputs[0] if len(data.outputs) == 1 else "the class" if data.target.ndim == 1 else "the labels"


def _encoders(data: Dataset, plugins: Plugins) -> dict[str, str]:
    proposed = proposed_encoders(plugins)
    if missing := [f"{n} ({m.kind})" for n, m in data.modalities.items() if m.kind not in proposed]:
        raise ConfigError(f"no encoder is proposed for {', '.join(missing)}; write the file by hand")
    return {name: proposed[modality.kind] for name, modality in data.modalities.items()}


def _misfit(name: str, document: dict[str, Any], data: Dataset, plugins: Plugins) -> str | None:
    """Why a strategy cannot be in the file with its defaults; None: it can. Its model is built once, and not trained."""
    if problem := plugins.problem_with("strategies", name):
        return problem.partition("\n")[0]
    target = plugins.get("strategies", name).target
    parameters = list(inspect.signature(target).parameters.values())[GIVEN["strategies"] :]
    if needed := [p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]:
        return f"needs {', '.join(needed)}"
    try:
        benchmark = Benchmark.model_validate({**document, "strategies": [name]})
        resolved = resolve(benchmark, plugins, lambda _: "")
        modalities = {n: _as_read(resolved.encoders[n], m) for n, m in data.modalities.items()}
        Blueprint(modalities, benchmark, len(data.outputs), data.kind).build(resolved.arms[0], 0, {})
    except FusionBenchError as problem:
        return str(problem).partition("\n")[0].removeprefix(": ")
    return None


def _as_read(part: Part, modality: Modality) -> ModalityPart:
    shape = () if isinstance(modality.values, Sequence) else tuple(modality.values.shape[1:])
    flags = () if modality.standardise is None else tuple(map(bool, modality.standardise))
    spec = InputSpec(modality.kind, shape, flags)
    encoder = part.build(spec)
    return ModalityPart(part, spec, encoder.output_dim, not encoder.frozen, "", encoder.weights)


def _text(document: dict[str, Any], data: Dataset, left_out: dict[str, str]) -> str:
    """The file as text, with a word on what may be changed."""
    said = {
        "encoders": "'fusionbench list encoders' shows others; 'fusionbench show NAME' the options of one",
        "strategies": "every one that fits these data with its defaults; take away what you do not ask about",
        "missingness": "patterns: random hides each modality alone, a name hides that one; rates: the shares that are hidden",
        "splits": "more folds and seeds show smaller differences",
        "tuning": "trials for each strategy and fold, equal for all; 0 compares defaults",
    }
    if left_out:
        listed = "; ".join(f"{name} ({reason})" for name, reason in left_out.items())
        said["strategies"] += f". Left out: {listed}"
    parts = ["# Written by 'fusionbench init'; 'fusionbench run FILE --dry-run' says what it would do.\n"]
    parts.append(f"# {len(data):,} rows; {', '.join(f'{n}: {m.kind}' for n, m in data.modalities.items())}\n")
    for key, value in document.items():
        note = f"# {said[key]}\n" if key in said else ""
        parts.append(note + yaml.safe_dump({key: value}, sort_keys=False, allow_unicode=True, width=10**6))
    return "".join(parts)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as problem:
        raise WorkspaceError(f"{path} cannot be written: {problem.strerror}") from problem
