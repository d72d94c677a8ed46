"""A plugin in words: what it is, where it comes from, its options, what it needs and what it costs."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from fusionbench.commands.docstrings import arguments, choices, formulas, opening, plain
from fusionbench.commands.first_sentence import first_sentence
from fusionbench.contract.options import literal_values, types_of
from fusionbench.contract.registration import GIVEN, SINGULAR, Registration, option_names
from fusionbench.plugins.catalogue import Plugins

WIDTH = 110
REQUIRED = inspect.Parameter.empty
MODULATES = {
    None: "no",
    "gradient": "yes, the gradient",
    "update": "yes, the update",
    "auto": "yes: the update under adamw, which divides a factor of the gradient out again; the gradient under sgd",
}
LEARNERS = ("imputers", "strategies", "regularisers")
Row = tuple[str, ...]


class Option(NamedTuple):
    """One constructor argument that a benchmark file may give.

    Args:
        name: Its name.
        default: Its default; ``REQUIRED`` where it has none.
        meaning: What the docstring says of it, up to the accepted values.
        values: What is accepted, with the meaning of each; empty where the type does not list values.
        type: Its annotation as written; stands in where the docstring says nothing.
    """

    name: str
    default: Any
    meaning: str
    values: Mapping[Any, str]
    type: str = ""


def describe(plugins: Plugins, name: str) -> str:
    """Return the description of every plugin of a name (``concat``, or ``strategies.concat``).

    Raises:
        ConfigError: Nobody offers the name.
    """
    return "\n\n".join(_text(plugins.get(k, n)) for k, n in plugins.matching(name))


def _text(registration: Registration) -> str:
    kind, target = registration.kind, registration.target
    source = f"{registration.distribution} {registration.version}".strip()
    options = options_of(target, skip=GIVEN[kind])
    module_doc = getattr(inspect.getmodule(target), "__doc__", None)
    sections = [
        f"{SINGULAR[kind]} {registration.name}  ({source})",
        _sentence(target, module_doc),
        plain(opening(target.__doc__) or opening(module_doc)) or "(its class has no docstring)",
        _section("Formulas", plain(formulas(module_doc)).splitlines()),
        _section("Provenance", _provenance(target)),
        _section("Options", _table(_option_rows(options)) or ["none"]),
        _section("Variants", _table(_variant_rows(options))),
        *(_learner_sections(registration) if kind in LEARNERS else [_section("Needs", _table(_facts(kind, target)))]),
    ]
    return "\n\n".join(s for s in sections if s)


def _sentence(target: type, module_doc: str | None) -> str:
    """What readers call it, and what it does."""
    title, does = vars(target).get("title", ""), first_sentence(f'"""{module_doc or ""}"""')
    repeats = not title or does.lower().startswith(title.lower())
    words = does if repeats else ". ".join(part for part in (title, does) if part)
    return textwrap.fill(f"{words}.", WIDTH) if words else ""


# --------------------------------------------------------------------------------------------
# what is read from the class


def options_of(target: type, skip: int = 0) -> list[Option]:
    """Return the options of a plugin class, without the ``skip`` arguments that the core gives."""
    said, types = arguments(target), types_of(target)
    parameters = inspect.signature(target).parameters
    found = []
    for name in option_names(target, skip):
        meaning, values = choices(said.get(name, ""), literal_values(types.get(name)))
        parameter, told = parameters[name], {v: plain(m) for v, m in values.items()}
        found.append(Option(name, parameter.default, plain(meaning), told, _written(parameter)))
    return found


def _written(parameter: inspect.Parameter) -> str:
    if parameter.annotation is REQUIRED:
        return ""
    written = parameter.annotation
    return written if isinstance(written, str) else inspect.formatannotation(written)


def _provenance(target: type) -> list[str]:
    given = getattr(target, "provenance", None)
    return _table((k, str(v)) for k, v in vars(given).items() if v) if given is not None else []


def _option_rows(options: Sequence[Option]) -> list[Row]:
    return [(o.name, _default(o.default), _meaning(o)) for o in options]


def _meaning(option: Option) -> str:
    listed = " | ".join(str(v) for v in option.values)
    if listed and option.meaning:
        return f"{listed}: {option.meaning}"
    return listed or option.meaning or option.type


def _variant_rows(options: Sequence[Option]) -> list[Row]:
    """One row for each accepted value that has a meaning of its own; the option is named in its first."""
    rows: list[Row] = []
    for option in options:
        for i, (value, meaning) in enumerate(option.values.items() if any(option.values.values()) else ()):
            mark = "default" if option.default is not REQUIRED and value == option.default else ""
            rows.append(("" if i else option.name, str(value), mark, meaning))
    return rows


def _default(value: Any) -> str:
    if value is REQUIRED:
        return "required"
    return str(round(value, 6)) if isinstance(value, float) else str(value)


def _facts(kind: str, target: Any) -> list[Row]:
    """What plugins that hold no trained part declare on their class."""
    if kind == "encoders":
        return [("reads", ", ".join(sorted(target.accepts)))]
    if kind == "tasks":
        return [("modalities", ", ".join(target.modality_names) or "as its options say")]
    if kind == "missingness":
        return [("reads a summary of the observed modalities", _yes(target.uses_summaries))]
    if kind == "papers":
        return [("tables and figures", ", ".join(part.name for part in target.parts) or "none")]
    if kind == "executors":
        return [("works on this machine", _yes(target.here))]
    return [("is told", ", ".join(n for n in sorted(dir(target)) if n.startswith("fusionbench_")))]


# --------------------------------------------------------------------------------------------
# what is seen when it is built and trained


def _learner_sections(registration: Registration) -> list[str]:
    """Needs, search space and cost; a part that cannot be built with its defaults says so instead."""
    steps = {"Search space": _search_space, "Needs": _needs, "Cost": _cost}
    return [_section(heading, _tried(step, registration)) for heading, step in steps.items()]


def _tried(step: Any, registration: Registration) -> list[str]:
    try:
        lines: list[str] = step(registration)
    except Exception as problem:  # noqa: BLE001 - whatever a guest raises is said, and the rest is shown
        return [f"cannot be shown with default options: {type(problem).__name__}: {problem}"]
    return lines


class RecordingTrial:
    """A trial that writes down what it is asked, and answers with the first or lowest value."""

    def __init__(self) -> None:
        self.asked: dict[str, str] = {}

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Record a range of floats."""
        self.asked[name] = f"{low:g} to {high:g}{', on a log scale' if log else ''}"
        return low

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """Record a range of integers."""
        self.asked[name] = f"whole numbers {low} to {high}"
        return low

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Record a list."""
        self.asked[name] = f"one of {', '.join(map(str, choices))}"
        return choices[0]


def _search_space(registration: Registration) -> list[str]:
    trial = RecordingTrial()
    registration.target.search_space(trial)  # type: ignore[attr-defined]
    return _table(trial.asked.items()) or ["none: tuning searches what the benchmark searches for everybody"]


def _stacked(part: Any) -> str:
    import torch

    from fusionbench.contract.learners import Encoder

    if not isinstance(part, Encoder):
        return _yes(part.stackable)
    here, there = (part.stackable_on(torch.device(name)) for name in ("cpu", "cuda"))
    return _yes(here) if here == there else f"on {'a CPU' if here else 'CUDA'} only"


def _needs(registration: Registration) -> list[str]:
    from fusionbench.testing.cost import build_part, model_of, needs_common_width

    part: Any = build_part(registration.target)
    model = model_of(part)
    on_inputs = getattr(part, "level", "") == "input"
    rate = f", rate {part.corruption_rate:g}" if getattr(part, "corruption_rate", 0) else ""
    rows = {
        "hides modalities in training": part.corruption + rate if part.corruption != "none" else "no",
        "sums over the training rows after each epoch": _yes(model.keeps_statistics),
        "embedding of a zero input": _yes(model.uses_zero_input),
        "one common width": _yes(needs_common_width(registration.target)),
        "can be stacked with others of its kind": _stacked(part),
    }
    if registration.kind == "strategies":
        rows["changes gradients or updates"] = MODULATES[model.modulates]
        rows["noise shaped like the gradients"] = _yes(model.modulates and part.gradient_noise)
        rows["reads"] = f"{len(part.reads)} modality only" if part.reads else "every modality"
        rows["depth of its head"] = _depth(registration, part)
        rows["stages"] = "; ".join(_stage(s) for s in part.stages())
    if registration.kind == "imputers":
        rows["works on"] = "encoder inputs, fitted once before training" if on_inputs else "embeddings"
        rows["code that a strategy may read"] = f"{part.latent_dim} numbers" if part.latent_dim else "none"
    return _table(rows.items())


def _depth(registration: Registration, part: Any) -> str:
    """Whether the benchmark decides how deep the head is."""
    from fusionbench.heads import follows_head
    from fusionbench.testing.cost import SPEC, build_part

    if follows_head(lambda spec: build_part(registration.target, spec), SPEC):
        return "that of the benchmark (model.head)"
    return f"its own: {part.owns_depth}" if part.owns_depth else "its own, and it does not say why (owns_depth)"


def _stage(stage: Any) -> str:
    """One stage in a few words."""
    share = stage.epochs if isinstance(stage.epochs, int) else f"{stage.epochs:.0%} of the"
    parts = [f"{share} epochs"]
    parts += [f"{len(stage.replicas)} replicas"] if stage.replicas else []
    parts += [f"{stage.holdout:.0%} of the training rows held out"] if stage.holdout else []
    parts += ["resumes the one before"] if stage.resumes else []
    parts += [f"frozen: {', '.join(stage.frozen)}"] if stage.frozen else []
    parts += [f"hands on {', '.join(stage.keep)}"] if stage.keep is not None else []
    parts += ["best epoch of each modality"] if stage.select == "per_modality" else []
    return f"{stage.name} ({', '.join(parts)})"


def _cost(registration: Registration) -> list[str]:
    from fusionbench.contract.learners import FittedStrategy
    from fusionbench.testing.cost import SETTINGS, SPEC, measure, reference

    if issubclass(registration.target, FittedStrategy):
        return ["It is fitted at once to all training rows, and takes no steps and no epochs."]
    own, plainest = measure(registration.target), reference()
    rows: list[Row] = [
        ("", registration.name, "concatenation"),
        ("trained parameters", f"{own.parameters:,}", f"{plainest.parameters:,}"),
        ("forward passes in a training step", f"{own.per_step:g}", f"{plainest.per_step:g}"),
        ("passes over the training rows after an epoch", f"{own.per_epoch:g}", f"{plainest.per_epoch:g}"),
        ("passes over whole splits between stages", str(own.elsewhere), str(plainest.elsewhere)),
        ("epochs trained for each planned one", f"{own.epochs:g}", f"{plainest.epochs:g}"),
    ]
    return [
        f"Counted in a training of {SETTINGS.epochs} epochs: {len(SPEC.dims)} modalities of width {SPEC.width}, one output,",
        "validation left out; beside it one linear layer on the concatenated embeddings"
        + ("." if registration.kind == "strategies" else ", which is also the strategy here."),
        "",
        *_table(rows),
    ]


# --------------------------------------------------------------------------------------------
# plain, aligned text


def _yes(value: Any) -> str:
    return "yes" if value else "no"


def _section(heading: str, lines: Sequence[str]) -> str:
    """A heading with indented lines; empty where there are none."""
    return "\n".join([f"{heading}:", *(f"  {line}".rstrip() for line in lines)]) if lines else ""


def _table(rows: Iterable[Row]) -> list[str]:
    """Align columns; the last is wrapped, and continued below itself."""
    table = list(rows)
    if not table:
        return []
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]) - 1)]
    lines: list[str] = []
    for row in table:
        lead = "".join(f"{cell:<{w + 2 if w else 0}}" for cell, w in zip(row[:-1], widths, strict=True))
        wrapped = textwrap.wrap(row[-1], WIDTH, initial_indent=lead, subsequent_indent=" " * len(lead))
        lines += wrapped or [lead.rstrip()]
    return lines
