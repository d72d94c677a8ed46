"""The sections of a benchmark file: defaults, titles, what is refused, and that nothing can be changed afterwards."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from fusionbench.config.sections import (
    Benchmark,
    FloatRange,
    MissingnessSection,
    SplitsSection,
    StrategyChoice,
    TrainingSection,
)
from tests.builders import make_benchmark
from tests.config.toy_file import GOOD, load
from tests.front import toy_benchmark


def test_defaults_fill_what_is_not_written(tmp_path):
    benchmark = load(tmp_path, GOOD)
    assert [c.name for c in benchmark.imputers] == ["zero"]
    assert benchmark.missingness.patterns == ("random",)
    assert not benchmark.is_demo


def test_options_of_a_strategy_are_what_its_constructor_gets(tmp_path):
    text = GOOD.replace("variant: logit", "variant: logit\n    label: votes\n    imputers: [mean]")
    choice = load(tmp_path, text).strategies[1]
    assert choice.options == {"variant": "logit"}
    assert choice.title == "votes"


def test_rates_are_sorted_and_unique(tmp_path):
    assert load(tmp_path, GOOD.replace("[0, 0.5]", "[0.5, 0, 0.5]")).missingness.rates == (0.0, 0.5)


def test_a_study_for_each_condition_needs_models_that_are_trained_under_it():
    with pytest.raises(ValueError, match="'each' needs models that are trained under each condition"):
        make_benchmark(tuning={"trials": 2, "condition": "each"})


@pytest.mark.parametrize(
    ("choice", "title"),
    [
        ({"name": "sum"}, "sum"),
        ({"name": "sum", "regularisers": ["tla", "x"]}, "sum+tla+x"),
        ({"name": "sum", "modalities": ["a", "b"]}, "sum on a+b"),
        ({"name": "sum", "regularisers": ["tla"], "modalities": ["a"], "label": "mine"}, "mine"),
    ],
)
def test_a_strategy_is_called_by_all_that_it_carries_or_by_its_label(choice, title):
    assert StrategyChoice.model_validate(choice).title == title


def test_sections_cannot_be_changed_and_take_no_unknown_key():
    benchmark = make_benchmark()
    with pytest.raises(ValidationError, match="frozen"):
        benchmark.training.epochs = 5
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        TrainingSection(epoch=5)


@pytest.mark.parametrize("name", ["training", "splits", "missingness", "tuning", "evaluation", "tracking", "model"])
def test_a_section_that_is_not_written_is_one_that_is_written_empty(name):
    document = {k: v for k, v in toy_benchmark().items() if k != name}
    absent, empty = (Benchmark.model_validate(d) for d in (document, {**document, name: {}}))
    assert getattr(absent, name) == getattr(empty, name)


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        (TrainingSection, {"epochs": True}, "true and false have no meaning here"),
        (TrainingSection, {"learning_rate": float("inf")}, "finite"),
        (SplitsSection, {"seeds": ()}, "seeds must be a non-empty list without repeats"),
        (SplitsSection, {"folds": 3, "use": ()}, "use must name folds from 0 to 2, each once"),
        (MissingnessSection, {"patterns": ("a", "a")}, "patterns must be a non-empty list without repeats"),
        (StrategyChoice, {"name": "sum", "modalities": ()}, "modalities must be a non-empty list without repeats"),
        (StrategyChoice, {"name": "sum", "modalities": ("a", "a")}, "modalities must be a non-empty list"),
        (FloatRange, {"low": 2, "high": 1}, "a range needs low <= high"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(section, values, message):
    with pytest.raises(ValidationError, match=message):
        section.model_validate(values)


def test_flags_may_be_true_and_a_range_may_be_a_point():
    assert TrainingSection(graph=True).graph
    assert FloatRange(low=1, high=1, log=True).high == 1


@pytest.mark.parametrize("name", ["a", "A-1_b.c", "9lives"])
def test_a_name_that_can_be_a_folder_is_accepted(name):
    assert make_benchmark(name=name).name == name


@pytest.mark.parametrize("name", ["", ".hidden", "a b", "ä", "a\n"])
def test_a_name_that_cannot_be_a_folder_everywhere_is_refused(name):
    with pytest.raises(ValidationError, match="a name begins with a letter or digit"):
        make_benchmark(name=name)


# ---------------------------------------------------------------- bounds

PLAIN = {"name": "x", "task": "toy", "encoders": {"a": "mlp"}, "strategies": ["concat"]}
BEYOND = {
    "model": {"width": 10**12},
    "splits": {"folds": 10**12, "seeds": [2**70], "use": list(range(20_000))},
    "training": {
        "epochs": 10**12,
        "batch_size": 10**12,
        "learning_rate": 1e300,
        "weight_decay": 1e300,
        "patience": 10**12,
        "population": 10**12,
        "encoder_rows": 10**12,
        "momentum": 1,
    },
    "tuning": {"trials": 10**12, "batch": 10**12, "prune_after": 2, "inner_folds": 10**12},
    "evaluation": {"resamples": 10**12, "confidence": 1},
    "missingness": {"rates": [0.1] * 2000, "patterns": [f"p{i}" for i in range(2000)]},
}


@pytest.mark.parametrize(("section", "key"), [(s, k) for s, keys in BEYOND.items() for k in keys])
def test_every_number_and_list_has_a_bound(section, key):
    with pytest.raises(ValidationError) as caught:
        Benchmark.model_validate({**PLAIN, section: {key: BEYOND[section][key]}})
    assert {e["loc"][:2] for e in caught.value.errors()} == {(section, key)}


def test_no_number_of_the_benchmark_is_without_a_bound():
    def unbounded(model):
        for name, field in model.model_fields.items():
            kinds = {field.annotation, *getattr(field.annotation, "__args__", ())}
            bounds = {type(m).__name__ for m in field.metadata}
            if kinds & {int, float} and not {"Le", "Lt"} & bounds:
                yield f"{model.__name__}.{name}"

    sections = [f.annotation for f in Benchmark.model_fields.values() if hasattr(f.annotation, "model_fields")]
    assert [found for model in (*sections, FloatRange) for found in unbounded(model)] == []


@pytest.mark.parametrize(
    ("written", "layers"),
    [("linear", 0), ("mlp", 1), ({"kind": "mlp", "depth": 3, "width": 7}, 3), ({"kind": "linear"}, 0)],
)
def test_a_head_is_a_word_or_a_mapping(written, layers):
    head = Benchmark.model_validate({**PLAIN, "model": {"head": written}}).model.head
    assert head.layers == layers


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("deep", "Input should be 'linear' or 'mlp'"),
        ({"depth": 2}, "needs 'kind': linear, or mlp with 'depth' and 'width'"),
        ({"kind": "linear", "depth": 2}, "a linear head has no hidden layers"),
        ({"kind": "mlp", "depth": 0}, "greater than or equal to 1"),
        ({"kind": "mlp", "hidden": 4}, "Extra inputs are not permitted"),
        (2, "valid dictionary or instance of HeadSection"),
    ],
)
def test_a_head_that_is_none_is_refused(written, said):
    with pytest.raises(ValidationError, match=said):
        Benchmark.model_validate({**PLAIN, "model": {"head": written}})


@pytest.mark.parametrize(
    "change", [{"schedule": "step"}, {"warmup": -1}, {"clip": 0}, {"least_steps": -1}, {"warmup": True}]
)
def test_paces_that_mean_nothing_are_refused(change):
    with pytest.raises(ValidationError):
        Benchmark.model_validate({**PLAIN, "training": change})


@pytest.mark.parametrize("change", [{"low": -1, "high": 1}, {"low": 0, "high": 1e9}])
def test_ranges_of_learning_rates_are_of_learning_rates(change):
    with pytest.raises(ValidationError):
        Benchmark.model_validate({**PLAIN, "tuning": {"common": {"learning_rate": change}}})


def test_a_name_that_no_folder_can_have_is_refused():
    assert Benchmark.model_validate({**PLAIN, "name": "a" * 100}).name == "a" * 100
    with pytest.raises(ValidationError, match="at most 100 characters"):
        Benchmark.model_validate({**PLAIN, "name": "a" * 101})


@pytest.mark.parametrize("label", ["\x1b[31mred", "two\nlines", "\ud800", "\u202eback"])
def test_a_label_that_would_steer_a_terminal_is_refused(label):
    with pytest.raises(ValidationError, match="a label is one line of text without control characters"):
        StrategyChoice.model_validate({"name": "sum", "label": label})


# --------------------------------------------------------------------------------------------
# inner folds


@pytest.mark.parametrize(("written", "read"), [("auto", "auto"), (1, 1), (3, 3), (4.0, 4)])
def test_inner_folds_are_auto_or_a_whole_number(written, read):
    assert Benchmark.model_validate({**PLAIN, "tuning": {"inner_folds": written}}).tuning.inner_folds == read


@pytest.mark.parametrize("written", [0, -1, 2.5, "some", "3", 21, None, True, [3], float("inf"), float("nan")])
def test_any_other_number_of_inner_folds_is_refused_with_what_is_accepted(written):
    with pytest.raises(ValidationError) as caught:
        Benchmark.model_validate({**PLAIN, "tuning": {"inner_folds": written}})
    (problem,) = caught.value.errors()
    assert problem["loc"][:2] == ("tuning", "inner_folds")
    assert isinstance(written, bool) or "must be 'auto' or a whole number from 1 to 20" in problem["msg"]


def test_inner_folds_whose_validation_parts_would_repeat_patients_are_refused_with_the_number_that_fits():
    def read(number, share, source="hash"):
        splits = {"validation": share, "source": source}
        return Benchmark.model_validate({**PLAIN, "tuning": {"inner_folds": number}, "splits": splits})

    assert read(5, 0.2).tuning.inner_folds == 5
    assert read(6, 0.15).tuning.inner_folds == 6
    assert read(7, 0.15, "task").tuning.inner_folds == 7  # what the data come with is known later
    with pytest.raises(ValidationError, match=r"7 validation parts of 0.15 .* at most 6 have patients of their own"):
        read(7, 0.15)
    with pytest.raises(ValidationError, match=r"at most 1 have"):
        read(2, 0.6)
