"""Other protocol settings of a benchmark: what they may be, where what is wrong with them is said, and what comes of them."""

from __future__ import annotations

import pytest

from fusionbench.config.alternatives import ACCEPTED, changed, nested, shown
from fusionbench.config.reading import read_all
from fusionbench.config.sections import Alternative, Benchmark
from tests.config.toy_file import GOOD, load, problems


def with_alternatives(*lines: str) -> str:
    return "\n".join([GOOD.rstrip(), "robustness:", *(f"  - {line}" for line in lines), ""])


def settings(**given):
    return Alternative(name="other", set={key.replace("__", "."): value for key, value in given.items()})


@pytest.mark.parametrize(
    "given",
    [
        {"training.optimiser": "sgd", "training.learning_rate": 0.05},
        {"training": {"optimiser": "sgd", "learning_rate": 0.05}},
        {"training": {"optimiser": "sgd"}, "training.learning_rate": 0.05},
    ],
)
def test_dotted_and_nested_keys_mean_the_same(tmp_path, given):
    benchmark = load(tmp_path, GOOD)
    other = changed(benchmark, Alternative(name="sgd", set=given))
    assert (other.training.optimiser, other.training.learning_rate) == ("sgd", 0.05)
    assert other.training.epochs == benchmark.training.epochs
    assert nested(given) == {"training": {"optimiser": "sgd", "learning_rate": 0.05}}


def test_everything_that_is_accepted_is_a_key_of_a_benchmark():
    assert len(ACCEPTED) > 15
    assert not {"training.workers", "training.traces", "training.keep_weights", "tuning.storage"} & set(ACCEPTED)
    for key in ACCEPTED:
        section, _, name = key.partition(".")
        assert name in type(Benchmark.model_fields[section].default).model_fields


def test_an_alternative_has_no_subsets_traces_observers_or_alternatives_and_all_else(tmp_path):
    text = with_alternatives("{name: deep, set: {model.head: {kind: mlp, depth: 2}}}")
    benchmark = load(tmp_path, text)
    other = changed(benchmark, benchmark.robustness[0])
    assert other.model.head.layers == 2
    assert (other.evaluation.subsets, other.training.traces, other.observers, other.robustness) == (
        False,
        False,
        (),
        (),
    )
    assert not other.tuning.untuned
    for section in ("name", "task", "encoders", "strategies", "imputers", "missingness", "splits"):
        assert getattr(other, section) == getattr(benchmark, section)


def test_a_mapping_is_laid_over_the_one_that_is_there(tmp_path):
    tuned = "tuning: {trials: 2, common: {learning_rate: {low: 0.001, high: 0.01}}}\n"
    benchmark = load(tmp_path, GOOD + tuned)
    other = changed(benchmark, settings(tuning__common={"learning_rate": {"high": 0.1}}))
    assert (other.tuning.common["learning_rate"].low, other.tuning.common["learning_rate"].high) == (0.001, 0.1)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "{name: x, set: {missingness.where: train}}",
            "set.missingness.where: 'missingness.where' is no protocol setting",
        ),
        (
            "{name: x, set: {missingness: {rates: [0, 0.5]}}}",
            "set.missingness.rates: 'missingness.rates' is no protocol setting",
        ),
        ("{name: x, set: {strategies: [concat]}}", "set.strategies: 'strategies' is no protocol setting"),
        ("{name: x, set: {splits.seeds: [1]}}", "set.splits.seeds: 'splits.seeds' is no protocol setting"),
        ("{name: x, set: {evaluation.resamples: 500}}", "'evaluation.resamples' is no protocol setting"),
        ("{name: x, set: {training.workers: 2}}", "'training.workers' is no protocol setting"),
        ("{name: x, set: {training.keep_weights: false}}", "'training.keep_weights' is no protocol setting"),
        ("{name: x, set: {tuning.storage: a}}", "'tuning.storage' is no protocol setting"),
        ("{name: x, set: {training: 3}}", "set.training: 'training' is no protocol setting"),
        ("{name: x, set: {training.optimizer: sgd}}", "did you mean 'training.optimiser'?"),
        ("{name: x, set: {training.: sgd}}", "'training.' is no protocol setting"),
        ("{name: x, set: {model.projection: conv}}", "set.model.projection: must be 'linear' or 'mlp', found 'conv'"),
        ("{name: x, set: {model: {width: -3}}}", "set.model.width: must be greater than or equal to 1, found -3"),
        ("{name: x, set: {training.epochs: yes}}", "set.training.epochs: true and false have no meaning here"),
        ("{name: x, set: {model.head.kind: linear, model.head.depth: 2}}", "a linear head has no hidden layers"),
        ("{name: x, set: {tuning.condition: each}}", "under 'x': tuning.condition: 'each' needs models"),
        ("{name: x, set: {model.width: 8, model: {width: 9}}}", "set.model.width: 'model.width' is set twice"),
        ("{name: x, set: {}}", "robustness[0].set: sets nothing"),
        ("{name: x, set: sgd}", "robustness[0].set: "),
        ("{name: x}", "robustness[0]: 'set' is missing"),
        ("{set: {model.width: 8}}", "robustness[0]: 'name' is missing"),
        ("{name: main, set: {model.width: 8}}", "main appears twice"),
        ("{name: x, sets: {model.width: 8}}", "robustness[0].sets: unknown key; did you mean 'set'?"),
        ('{name: "a\\tb", set: {model.width: 8}}', "one line of text"),
        ("sgd", "robustness[0]: expected a mapping"),
    ],
)
def test_what_an_alternative_cannot_be_is_said_with_its_line(tmp_path, line, message):
    found = problems(tmp_path, with_alternatives(line))
    named = [p for p in found if message in p]
    assert named, found
    above = "main appears" in message  # the list as a whole
    assert named[0].startswith(f"b.yaml:{len(GOOD.splitlines()) + 2 - above}: robustness")


def test_all_alternatives_are_looked_at_and_beside_other_faults(tmp_path):
    text = with_alternatives(
        "{name: a, set: {model.width: -1}}", "{name: b, set: {training.patience: 0, splits.folds: 3}}"
    )
    found = "\n".join(problems(tmp_path, text.replace("name: ", "nome: ", 1)))
    for part in ("robustness[0].set.model.width", "splits.folds", "nome"):
        assert part in found


def test_two_alternatives_have_two_names_and_there_are_three_at_most(tmp_path):
    one = "{name: a, set: {model.width: 8}}"
    assert "a appears twice" in "\n".join(problems(tmp_path, with_alternatives(one, one)))
    four = [one.replace("name: a", f"name: a{i}") for i in range(4)]
    assert "3 at most: each costs as much as the run; found 4" in "\n".join(
        problems(tmp_path, with_alternatives(*four))
    )
    assert len(load(tmp_path, with_alternatives(*four[:3])).robustness) == 3


def test_a_demo_and_a_set_leave_them_out(tmp_path):
    path = tmp_path / "b.yaml"
    text = with_alternatives("{name: a, set: {model.width: 8}}")
    path.write_text(text + "demo: {unless_set: DATA, robustness: []}\n", encoding="utf-8")
    assert read_all(path, environ={}).benchmark.robustness == ()
    assert len(read_all(path, environ={"DATA": "x"}).benchmark.robustness) == 1
    assert read_all(path, ["robustness=[]"], environ={"DATA": "x"}).benchmark.robustness == ()
    changed_by_set = read_all(path, ["robustness.0.set={model.width: 4}"], environ={"DATA": "x"})
    assert changed_by_set.problems == []


def test_settings_are_shown_as_they_are_written():
    alternative = Alternative(name="a", set={"training": {"clip": None, "optimiser": "sgd"}, "model.head": "mlp"})
    assert shown(alternative) == "training.clip: null, training.optimiser: sgd, model.head: mlp"
