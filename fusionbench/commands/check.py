"""``fusionbench check``: the exam of the conformance kit with the cost of a plugin, or the problems of a benchmark file.

A plugin takes the checks of :mod:`fusionbench.testing`; each is printed with what came of it, and a failure with what
was found, why it matters and how to mend it. A benchmark file is read as ``run`` reads it; nothing is prepared or trained.
"""

from __future__ import annotations

import importlib.util
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from fusionbench.commands.opening import Opened
from fusionbench.config.document import parse_assignment
from fusionbench.config.reading import once
from fusionbench.config.sections import Benchmark
from fusionbench.contract.batch import FusionSpec
from fusionbench.contract.learners import Encoder, FittedStrategy
from fusionbench.contract.registration import SINGULAR, Registration
from fusionbench.errors import ConfigError, FusionBenchError, PluginError, did_you_mean
from fusionbench.plan.parts import Arm, Part
from fusionbench.plugins.catalogue import Plugins
from fusionbench.plugins.names import Where
from fusionbench.plugins.papers import KIND as PAPERS
from fusionbench.plugins.resolving import resolve
from fusionbench.targets import TargetKind
from fusionbench.testing.checks import CHECKS, CheckResult, Status, each_check, examined, expected_failures_of, sentence
from fusionbench.testing.cost import SPEC, kept_for_backward, measure, reference, reference_memory, seconds_per_step

LEARNERS: Final = ("imputers", "strategies", "regularisers")
WIDTH: Final = 118
REPEATS: Final = 3
MARKS: Final[Mapping[Status, str]] = {
    "passed": "pass",
    "failed": "FAIL",
    "skipped": "n/a",
    "failed as expected": "known",
    "passed unexpectedly": "FAIL",
}
MADE_UP_WIDTH: Final = 16  # of embeddings, where a benchmark leaves the width to the encoders

Say = Callable[[str], None]


def registrations(plugins: Plugins, what: str) -> list[Registration]:
    """Return the plugins that a name, ``kind.name``, a file or a module stands for; a file or module was loaded with ``-p``.

    Raises:
        ConfigError: It stands for nothing.
        PluginError: A plugin does not load.
    """
    owner = extra_owner(what)
    entries = [e for e in plugins.catalogue() if e.distribution == owner]
    if not entries and is_extra(what, plugins):
        raise PluginError(f"{what} cannot be used{plugins.broken()}")
    named = [(e.kind, e.name) for e in entries] or plugins.matching(what)
    if (
        "." not in what and len(named) > 1
    ):  # a method and its paper may have one name; there is nothing to check of a paper
        named = [(kind, name) for kind, name in named if kind != PAPERS] or named
    return [plugins.get(kind, name) for kind, name in named]


def is_extra(what: str, plugins: Plugins) -> bool:
    """Whether ``what`` is a file or a module to load, and not the name of a plugin."""
    if what.endswith(".py"):
        return True
    kind, _, bare = what.rpartition(".")
    if any(e.name == bare and kind in ("", e.kind) for e in plugins.catalogue()):
        return False
    try:
        return importlib.util.find_spec(what) is not None
    except (ImportError, ValueError):
        return False


def extra_owner(what: str) -> str:
    """Return what the catalogue calls the distribution of a file or module given with ``-p``."""
    return f"file {Path(what).name}" if what.endswith(".py") else f"module {what}"


def options_for(registration: Registration, assignments: Sequence[str]) -> dict[str, Any]:
    """Return constructor options from ``--set KEY=VALUE``.

    Raises:
        ConfigError: The constructor does not know one, or lacks one.
    """
    options = {".".join(path): value for path, value in map(parse_assignment, assignments)}
    problem = registration.problem_with(options)
    # the kit itself gives a strategy of one modality its modality
    if problem and not (registration.kind in LEARNERS and "'modality'" in problem):
        raise ConfigError(f"{problem}\n  give options with --set KEY=VALUE")
    return options


def examine(registration: Registration, options: Mapping[str, Any], only: Sequence[str], say: Say) -> bool:
    """Run the exam of a plugin, print every check as it ends, then the cost; return whether all is well.

    Raises:
        ConfigError: The kind has no exam, a check has no such name, or the plugin cannot be built with these options.
    """
    owner = f"{registration.distribution} {registration.version}".strip()
    title = f"{SINGULAR[registration.kind]} '{registration.name}' of {owner}"
    say(f"{title}{_given(options)}")
    subject = _subject(registration, options, title)
    _check_names(only, subject.kind)
    results = []
    for result in each_check(subject, only=only or None):
        results.append(result)
        for line in lines_of(result):
            say(line)
    say(f"  {_count(results)}")
    for line in () if only else cost_lines(registration, options):
        say(line)
    return all(result.ok for result in results)


def _given(options: Mapping[str, Any]) -> str:
    return f", with {', '.join(f'{k}={v}' for k, v in options.items())}" if options else ""


def _subject(registration: Registration, options: Mapping[str, Any], title: str) -> Any:
    """The subject of the checks, after the plugin was built once: what stops it there would stop every check."""
    try:
        subject = examined(registration.target, options)
    except TypeError:
        kinds = ", ".join(CHECKS)
        raise ConfigError(f"{title}: there are no checks for this kind; there are for: {kinds}") from None
    try:
        expected_failures_of(subject)
    except ValueError as problem:
        raise PluginError(f"{title}: {problem}") from problem
    try:
        subject.ready()
    except FusionBenchError as problem:
        raise ConfigError(f"{title} cannot be examined: {problem}\n  give options with --set KEY=VALUE") from problem
    except Exception:  # noqa: BLE001 (a plugin may raise anything; the checks say what)
        return subject
    return subject


def _check_names(only: Sequence[str], kind: str) -> None:
    known = [sentence(check) for check in CHECKS[kind]]
    problems = [f"--only {name}: no such check{did_you_mean(name, known)}" for name in only if name not in known]
    if problems:
        raise ConfigError([*problems, f"checks of a {kind}: {', '.join(known)}"])


def lines_of(result: CheckResult) -> Iterator[str]:
    """Yield how a check ended; for a failure also what was found, why it matters and how to mend it."""
    said = result.name.replace("_", " ")
    reason = "" if result.status in ("passed", "failed", "passed unexpectedly") else f": {result.reason}"
    yield f"  {MARKS[result.status]:<5} {said}{reason}"
    if not result.ok:
        mend = result.mend if result.status == "failed" else "take the check out of expected_failures."
        for word, text in (("found", result.reason), ("why", result.why), ("mend", mend)):
            yield textwrap.fill(f"{word}: {text}", WIDTH, initial_indent=" " * 8, subsequent_indent=" " * 14)


def _count(results: Sequence[CheckResult]) -> str:
    states = {
        "passed": "passed",
        "failed": "failed",
        "skipped": "not applicable",
        "failed as expected": "failed as declared",
    }
    counts = {word: sum(r.status == status for r in results) for status, word in states.items()}
    counts["failed"] += sum(r.status == "passed unexpectedly" for r in results)
    said = ", ".join(f"{n} {word}" for word, n in counts.items() if n or word in ("passed", "failed"))
    return f"{len(results)} checks in {sum(r.seconds for r in results):.1f} s: {said}"


# --------------------------------------------------------------------------------------------
# cost


def cost_lines(registration: Registration, options: Mapping[str, Any]) -> list[str]:
    """Return what a part of a model costs beside the plainest fusion, measured here and now; nothing for other kinds."""
    if registration.kind == "encoders":
        return _encoder_cost(registration.target, options)
    if registration.kind not in LEARNERS:
        return []
    if issubclass(registration.target, FittedStrategy):
        return ["  cost: fitted at once to all training rows; it takes no steps and no epochs"]
    try:
        return _learner_cost(registration.target, options)
    except Exception as problem:  # noqa: BLE001 (whatever a plugin raises; the checks have said more)
        return [f"  cost: not measured, the training stopped: {type(problem).__name__}: {problem}"]


def _learner_cost(target: type, options: Mapping[str, Any]) -> list[str]:
    own, plain = measure(target, **options), reference()
    steps = [(seconds_per_step(target, **options), seconds_per_step()) for _ in range(REPEATS)]
    mine, theirs = (1000 * min(times) for times in zip(*steps, strict=True))
    kept = kept_for_backward(target, **options)
    names = f"{len(SPEC.dims)} modalities of width {SPEC.width}"
    rows = [
        ("parameters", f"{own.parameters:,}", f"{plain.parameters:,}"),
        ("milliseconds for each planned step of training", f"{mine:.2f}", f"{theirs:.2f} ({mine / theirs:.1f} times)"),
        ("bytes kept for each row's backward pass", f"{kept:,}", f"{reference_memory():,}"),
        ("passes of the strategy in each step", f"{own.per_step:g}", f"{plain.per_step:g}"),
        ("epochs for each planned one", f"{own.epochs:g}", f"{plain.epochs:g}"),
    ]
    table = [f"    {what:<48} {mine_:>9}   against {plain_}" for what, mine_, plain_ in rows]
    return [f"  cost, {names}, against one linear layer on the concatenation:", *table]


def _encoder_cost(target: type[Encoder], options: Mapping[str, Any]) -> list[str]:
    subject: Any = examined(target, options)
    lines = []
    for case in subject.accepted():
        encoder = subject.build(case.spec)
        count = sum(p.numel() for p in encoder.parameters())
        trained = sum(p.numel() for p in encoder.parameters() if p.requires_grad)
        lines.append(f"    {case.name}: {count:,} parameters, {trained:,} trained; width {encoder.output_dim}")
    return ["  cost:", *lines]


# --------------------------------------------------------------------------------------------
# a benchmark file


def validate_file(opened: Opened) -> list[str]:
    """Validate a benchmark file, every panel of it; see :func:`validate`.

    Raises:
        ConfigError: With what is wrong in any panel.
    """
    lines: list[str] = []
    problems: dict[str, list[str]] = {}
    for name, (benchmark, places) in opened.panels.items():
        problems[name] = []
        try:
            lines += validate(benchmark, opened.plugins, places.at)
        except ConfigError as problem:
            problems[name] = problem.problems
    if found := list(once(problems)):
        raise ConfigError(found)
    return lines


def validate(benchmark: Benchmark, plugins: Plugins, where: Where) -> list[str]:
    """Read a benchmark as ``run`` does, and build what needs no data; return what it asks for, in lines.

    Raises:
        ConfigError: Names, options or values do not fit; all problems at once.
    """
    resolved = resolve(benchmark, plugins, where)
    refused = _built(resolved.task)
    named = () if refused else tuple(resolved.task.build().modality_names)
    names = named or tuple(benchmark.encoders)
    problems = [] if refused is None else [refused]
    problems += [p for arm in resolved.arms for part in arm.parts.values() if (p := _refusal(part, benchmark, names))]
    problems += [p for arm in resolved.arms if refused is None and (p := _unknown(arm, names))]
    problems += [p for p in [_built(resolved.mechanism)] if p]
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    folds, inner = benchmark.splits.folds, benchmark.tuning.inner_folds
    several = f", each on inner folds: {inner}" if benchmark.tuning.trials and inner != 1 else ""
    return [
        f"{benchmark.name}: no problem found in the file",
        f"  task {resolved.task.registration.name}, modalities {', '.join(names)}",
        f"  {len(resolved.arms)} arms: {', '.join(arm.label for arm in resolved.arms)}",
        f"  {folds} folds, {len(benchmark.splits.seeds)} seeds, {benchmark.tuning.trials} trials of tuning{several}",
    ]


def _refusal(part: Part, benchmark: Benchmark, names: Sequence[str]) -> str | None:
    """Why a strategy, imputer or regulariser cannot be built, whatever the target; None where it can for one kind of it."""
    dims = dict.fromkeys(names, benchmark.model.width or MADE_UP_WIDTH)
    found = [_built(part, FusionSpec(dims, 1 if kind is TargetKind.BINARY else 3, kind)) for kind in TargetKind]
    return found[0] if all(found) else None


def _built(part: Part, *arguments: Any) -> str | None:
    try:
        part.build(*arguments)
    except FusionBenchError as problem:
        return str(problem)
    return None


def _unknown(arm: Arm, names: Sequence[str]) -> str | None:
    unknown = sorted(set(arm.modalities or ()) - set(names))
    if not unknown:
        return None
    return f"{arm.strategy.where}.modalities: the task offers {', '.join(names)}; found {', '.join(unknown)}"
