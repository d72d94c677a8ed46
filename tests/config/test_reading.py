"""Benchmark files: what is refused, with which words and which line, and what comes out."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fusionbench.analysis.curves import BEST
from fusionbench.config import sections as config
from fusionbench.config.reading import STAND_IN, load_benchmark, read_all, read_benchmark
from fusionbench.config.sections import Benchmark, StrategyChoice
from fusionbench.contract.registration import STRATEGY_KEYS
from fusionbench.errors import ConfigError
from fusionbench.keys import digest
from tests.config.toy_file import GOOD, load, one, problems
from tests.front import python

# ---------------------------------------------------------------- what comes out


def test_keys_that_the_benchmark_reads_of_a_strategy_are_known_to_the_registry():
    assert {"name", *STRATEGY_KEYS} == set(StrategyChoice.model_fields)


def test_comments_and_layout_change_nothing(tmp_path):
    flow = yaml.safe_dump(yaml.safe_load(GOOD), default_flow_style=True)
    bare = load(tmp_path, GOOD)
    for text in ("# about\n" + GOOD + "\n# end\n", flow, GOOD.replace("0.5]", "0.5]  # half")):
        assert load(tmp_path, text) == bare
        assert digest(load(tmp_path, text)) == digest(bare)


def test_resolved_configuration_is_the_same_under_every_hash_seed(tmp_path):
    path = tmp_path / "b.yaml"
    path.write_text(
        GOOD + "demo:\n  unless_set: X\n  encoders: {c: mlp, d: mlp, a: mlp}\n  zzz: 1\n  yyy: 1\n", encoding="utf-8"
    )
    show = (
        "import sys; from pathlib import Path; from fusionbench.config.reading import load_benchmark\n"
        "try: load_benchmark(Path(sys.argv[1]))\n"
        "except Exception as problem: print(problem)\n"
        "print(load_benchmark(Path(sys.argv[2])).model_dump_json())"
    )
    good = tmp_path / "good.yaml"
    good.write_text(path.read_text(encoding="utf-8").split("  zzz")[0], encoding="utf-8")
    outputs = {python(show, str(path), str(good), PYTHONHASHSEED=seed).stdout for seed in ("1", "2", "3")}
    assert len(outputs) == 1
    assert '"encoders":{"a":{"name":"mlp"},"b":' in outputs.pop()


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("written", "line", "key", "hint"),
    [
        ("strategy: [x]\n", 12, "strategy", "strategies"),
        ("training:\n  epoch: 3\n", 13, "training.epoch", "epochs"),
        ("splits: {fold: 3}\n", 12, "splits.fold", "folds"),
        ("model:\n  widht: 3\n", 13, "model.widht", "width"),
        ("evaluation: {resample: 1}\n", 12, "evaluation.resample", "resamples"),
        ("tracking: {url: x}\n", 12, "tracking.url", "uri"),
        ("tuning:\n  comon: {}\n", 13, "tuning.comon", "common"),
        (
            "tuning:\n  common:\n    learning_rte: {low: 1, high: 2}\n",
            14,
            "tuning.common.learning_rte",
            "learning_rate",
        ),
        (
            "tuning:\n  common: {learning_rate: {low: 1, high: 2, lg: true}}\n",
            13,
            "tuning.common.learning_rate.lg",
            "log",
        ),
        ("demoo: {}\n", 12, "demoo", "demo"),
    ],
)
def test_unknown_keys_are_refused_at_every_level_with_line_and_hint(tmp_path, written, line, key, hint):
    problem = one(tmp_path, GOOD + written)
    assert problem.startswith(f"b.yaml:{line}: {key}: unknown key; did you mean '{hint}'?\n  accepted: ")


def test_unknown_key_inside_a_list(tmp_path):
    text = GOOD.replace("variant: logit", "corruption: {polic: bernoulli, policy: none}")
    assert one(tmp_path, text).startswith(
        "b.yaml:9: strategies[1].corruption.polic: unknown key; did you mean 'policy'?"
    )


def test_all_problems_are_reported_at_once(tmp_path):
    text = (
        GOOD.replace("[0, 0.5]", "[0, 1.2]").replace("name: toy  #", "name: ../up  #")
        + "training: {epochs: zero, batch_size: 1}\nsplits: {use: [7], sed: 1}\nroot: ${NOWHERE}\n"
    )
    found = problems(tmp_path, text, "a..b=1", "model.width=0")
    assert [p.split(": ")[:2] for p in found] == [
        ["--set a..b=1", "expected key.key=value, for example --set training.epochs=5"],
        ["b.yaml:14", "root"],
        ["b.yaml:1", "name"],
        ["--set model.width=0", "model.width"],
        ["b.yaml:11", "missingness.rates[1]"],
        ["b.yaml:13", "splits.sed"],
        ["b.yaml:12", "training.epochs"],
        ["b.yaml:12", "training.batch_size"],
        ["b.yaml:14", "root"],
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[0, 0.5]", "[0, 1.2]", "b.yaml:11: missingness.rates[1]: must be less than 1, found 1.2"),
        ("[0, 0.5]", "[0, 1]", "must be less than 1, found 1"),
        ("[0, 0.5]", "[-0.1]", "must be greater than or equal to 0, found -0.1"),
        ("[0, 0.5]", "[]", "b.yaml:11: missingness.rates: rates must not be empty"),
        ("[0, 0.5]", "0.5", "expected a list, found 0.5"),
        ("[0, 0.5]", "[half]", "found 'half'"),
        ("[0, 0.5]", "[.nan]", "b.yaml:11: not valid YAML: .nan is not a finite number"),
        ("[0, 0.5]", "[true]", "true and false have no meaning here"),
        ("name: toy  #", "name: a/b  #", "found 'a/b'"),
        ("name: toy  #", "name: ..  #", "found '..'"),
        ("name: toy  #", "name: 2024  #", "b.yaml:1: name: expected text in quotes, found 2024"),
        ("task: {name: toy, rows: 120}", "task: {rows: 120}", "b.yaml:2: task: 'name' is missing"),
        ("task: {name: toy, rows: 120}", "task: ''", "b.yaml:2: task.name: "),
        ("task: {name: toy, rows: 120}", "task:", "expected the name of a plugin, or a mapping with 'name'"),
        ("task: {name: toy, rows: 120}", "", "b.yaml:1: 'task' is missing"),
        ("{name: toy, rows: 120}", "{name: toy, rows: .inf}", "b.yaml:2: not valid YAML: .inf is not a finite number"),
        ("{name: toy, rows: 120}", "{name: toy, rows: 1e999}", "1e999 is not a finite number"),
        ("{name: toy, rows: 120}", "{name: toy, 7: 120}", "b.yaml:2: key 7 is not text; put it in quotes"),
        ("{name: toy, rows: 120}", "{name: toy, rows: !!set {x}}", "b.yaml:2: not valid YAML: the tag set is not accepted"),
        ("{name: toy, rows: 120}", "{name: toy, rows: !!int x}", "b.yaml:2: not valid YAML: 'x' is not what its tag says"),
        ("{name: toy, rows: 120}", "{name: toy, rows: !!python/name:os.system }", "is not accepted"),
        ("  - concat\n", "  - concat\n  - concat\n", "b.yaml:6: strategies: concat appears twice; give each its own 'label'"),
        ("  - concat\n", "  - {name: concat, label: sum}\n", "b.yaml:6: strategies: sum appears twice"),
        ("  - concat\n", "  - {name: concat, label: ceiling}\n", "'ceiling' is the best possible prediction"),
        ("  - concat\n", "  - 5\n", "b.yaml:7: strategies[0]: expected the name of a plugin"),
        ("  - concat\n", "  - {name: concat, imputers: []}\n", "strategies[0].imputers: must not be empty"),
        ("  - concat\n", "  - {name: concat, regularisers: tla}\n", "expected a list, found 'tla'"),
        ("  a: identity\n  b: {name: mlp, hidden: 8}\n", "", "b.yaml:3: encoders: expected a mapping, found nothing"),
        ("encoders:\n  a: identity\n  b: {name: mlp, hidden: 8}\n", "encoders: {}\n", "needs an encoder for each modality"),
    ],
)  # fmt: skip
def test_bad_values_are_named_with_line_and_what_is_accepted(tmp_path, old, new, message):
    assert GOOD.count(old) == 1
    assert message in one(tmp_path, GOOD.replace(old, new))


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("training: {epochs: yes}", "training.epochs: true and false have no meaning here"),
        ("training: {epochs: 0}", "training.epochs: must be greater than or equal to 1, found 0"),
        ("training: {epochs: 2.5}", "found 2.5"),
        ("training: {optimiser: adam}", "must be 'adamw' or 'sgd', found 'adam'"),
        ("training: 5", "training: expected a mapping, found 5"),
        ("imputers: []", "imputers: must not be empty"),
        ("imputers: [knn, {name: knn, k: 2}]", "imputers: knn appears twice"),
        ("splits: {seeds: [0, 0]}", "seeds must be a non-empty list without repeats"),
        ("splits: {seeds: [true]}", "true and false have no meaning here"),
        ("splits: {folds: 3, use: [3]}", "use must name folds from 0 to 2, each once"),
        ("splits: {folds: 3, use: [1, 1]}", "use must name folds from 0 to 2, each once"),
        ("tuning: {common: {learning_rate: {low: 2, high: 1}}}", "a range needs low <= high"),
        ("tuning: {common: {learning_rate: {low: 0, high: 1, log: true}}}", "low > 0 where log is true"),
        ("tuning: {inner_folds: few}", "b.yaml:12: tuning.inner_folds: must be 'auto' or a whole number from 1 to 20"),
        ("tuning: {inner_folds: 9}", "b.yaml:12: tuning.inner_folds: 9 validation parts of 0.15 of the rows each"),
        ("strategies: []", "b.yaml:12: key 'strategies' is given twice, first in line 6"),
        ("is_demo: true", "b.yaml:12: is_demo: this is not set by hand: a 'demo' block sets it"),
        ("demo: {task: x}", "b.yaml:12: demo: needs 'unless_set: VARIABLE'"),
        ("demo: 5", "b.yaml:12: demo: needs 'unless_set: VARIABLE'"),
        ("demo: {unless_set: X, tasks: y}", "b.yaml:12: demo.tasks: unknown key; did you mean 'task'?"),
    ],
)
def test_bad_sections_are_named_with_what_is_accepted(tmp_path, written, message):
    assert message in one(tmp_path, GOOD + written + "\n", X="set")


def test_the_ceiling_has_one_name():
    assert BEST.strategy == config.CEILING  # the line of the tables is the one that no strategy may be called


# ---------------------------------------------------------------- --set


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("trainin.epochs=5", "--set trainin.epochs=5: trainin: unknown key; did you mean 'training'?"),
        ("training.epoch=5", "--set training.epoch=5: training.epoch: unknown key; did you mean 'epochs'?"),
        (
            "strategies.2.label=x",
            "--set strategies.2.label=x: '2' is not in the benchmark: the list has entries 0 to 1",
        ),
        ("strategies.-1.label=x", "'-1' is not in the benchmark"),
        ("strategies.²=x", "'²' is not in the benchmark"),
        ("strategies.first=x", "'first' is not in the benchmark"),
        ("task.rows.x=1", "--set task.rows.x=1: 'x' is not in the benchmark: nothing lies below a single value"),
        ("training.epochs", "expected key.key=value, for example --set training.epochs=5"),
        ("=5", "expected key.key=value"),
        ("training..epochs=5", "expected key.key=value"),
        ("training.epochs=[1", "--set training.epochs=[1: not valid YAML"),
        ("training.epochs=&a [*a]", "nested deeper than 32 levels"),
        ("training={epochs: 0}", "--set training={epochs: 0}: training.epochs: must be greater"),
        ("is_demo=true", "--set is_demo=true: is_demo: this is not set by hand"),
        ("name=a b", "--set name=a b: name: a name begins with"),
    ],
)
def test_set_that_cannot_be_applied_says_why(tmp_path, assignment, message):
    assert message in one(tmp_path, GOOD, assignment)


def test_a_problem_beside_what_was_set_keeps_its_line(tmp_path):
    text = GOOD + "training:\n  batch_size: 1\n"
    assert one(tmp_path, text, "training={epochs: 3}").startswith("b.yaml:13: training.batch_size: ")


# ---------------------------------------------------------------- demo


DEMO = (
    GOOD
    + """\
demo:
  unless_set: DATA
  name: toy_demo
  task: {rows: 10}
  encoders:
    a: {name: lstm, layers: 1}
    b: {depth: 2}
  strategies: [late_average]
  splits: {folds: 3}
"""
)


def test_demo_is_laid_over_only_where_its_variable_is_unset(tmp_path):
    real, demo = load(tmp_path, DEMO, DATA="/data"), load(tmp_path, DEMO)
    assert real == load(tmp_path, GOOD)
    assert demo == load(tmp_path, DEMO, DATA="")
    assert demo.is_demo
    assert not real.is_demo


def test_demo_merges_mappings_replaces_lists_and_other_plugins(tmp_path):
    demo = load(tmp_path, DEMO)
    assert demo.name == "toy_demo"
    assert (demo.task.name, demo.task.options) == ("toy", {"rows": 10})
    assert (demo.encoders["a"].name, demo.encoders["a"].options) == ("lstm", {"layers": 1})
    assert (demo.encoders["b"].name, demo.encoders["b"].options) == ("mlp", {"hidden": 8, "depth": 2})
    assert [s.title for s in demo.strategies] == ["late_average"]
    assert demo.missingness.rates == (0.0, 0.5)


def test_set_wins_over_the_demo(tmp_path):
    assert load(tmp_path, DEMO, "splits.folds=4").splits.folds == 4


def test_problems_of_the_demo_have_its_lines(tmp_path):
    assert one(tmp_path, DEMO.replace("folds: 3", "folds: 1")).startswith("b.yaml:20: splits.folds: ")


def test_variables_that_only_the_real_run_needs_are_not_asked_for_in_the_demo(tmp_path):
    text = DEMO.replace("rows: 120", "rows: '${DATA}'")
    assert load(tmp_path, text).task.options == {"rows": 10}


def test_places_outlive_loading(tmp_path):
    path = tmp_path / "b.yaml"
    path.write_text(DEMO, encoding="utf-8")
    _, places = read_benchmark(path, ["encoders.c=mlp"], {})
    assert places.at(("strategies", 0, "name")) == f"{path}:19: strategies[0].name: "
    assert places.at(("missingness", "mechanism", "name")) == f"{path}:10: missingness.mechanism.name: "
    assert places.at(("encoders", "c", "name")) == "--set encoders.c=mlp: encoders.c.name: "


# ---------------------------------------------------------------- whatever is written

KEYS = sorted(
    {
        *Benchmark.model_fields,
        "demo",
        "unless_set",
        "label",
        "rates",
        "folds",
        "epochs",
        "common",
        "learning_rate",
        "low",
    }
)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.dates(),
    st.sampled_from(["concat", "${X}", "${X:-}", "1e-3", "~", "", ".inf"]),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=8),
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(st.sampled_from(KEYS), leaves), inner, max_size=4)
    ),
    max_leaves=12,
)
documents = st.dictionaries(st.sampled_from(KEYS), values, max_size=8)


def loads_or_is_refused(text, *assignments):
    """The only two outcomes; what loads has a hash, and a second reading equals the first."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "b.yaml"
        path.write_text(text, encoding="utf-8")
        try:
            benchmark = load_benchmark(path, assignments, {"SET": "x"})
        except ConfigError as refusal:
            found = refusal.problems
        else:
            found = [] if digest(benchmark) == digest(load_benchmark(path, assignments, {"SET": "x"})) else [""]
        assert all(p.strip() for p in found)


@settings(max_examples=150, deadline=None)
@given(documents)
def test_any_nested_garbage_is_loaded_or_refused(document):
    loads_or_is_refused(yaml.dump(document, allow_unicode=True))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_garbage_inside_a_good_file_is_loaded_or_refused(data):
    document = yaml.safe_load(GOOD)
    document.update(data.draw(documents))
    loads_or_is_refused(yaml.dump(document, allow_unicode=True))


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from("nametoy:{}[]&*!?|>-#%@`'\",\n\t 01.e~<\u00e9\0"), max_size=40))
@example("!!timestamp x")
@example("2020-13-45: 1")
@example("? [a]\n: 1\n")
@example("a: !!float y")
@example("{1e400: .nan}")
@example("a: " + "9" * 5000)
def test_any_text_is_loaded_or_refused(text):
    loads_or_is_refused(text)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([*KEYS, "0", "1", "9", "²", ""]), max_size=4), values)
def test_any_assignment_is_applied_or_refused(path, value):
    loads_or_is_refused(GOOD, ".".join(path) + "=" + yaml.dump(value, default_flow_style=True, allow_unicode=True))


def test_no_number_that_is_not_finite_gets_through_a_variable(tmp_path):
    assert "finite" in one(tmp_path, GOOD + "training: {learning_rate: '${RATE}'}\n", RATE=str(math.inf))


# ---------------------------------------------------------------- all at once


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ("trainin: {}\n", {"concat", "sum"}),
        ("training: {epochs: -1}\nsplits: {folds: x}\n", {"concat", "sum"}),
        ("tuning: {condition: each}\n", {"concat", "sum"}),
        ("model: 3\n", {"concat", "sum"}),
    ],
)
def test_a_faulty_file_still_tells_its_names(tmp_path, change, kept):
    path = tmp_path / "b.yaml"
    path.write_text(GOOD + change, encoding="utf-8")
    reading = read_all(path, [], {})
    assert reading.problems
    assert reading.benchmark is not None
    assert {s.name for s in reading.benchmark.strategies} == kept
    assert list(reading.benchmark.encoders) == ["a", "b"]


def test_a_faulty_entry_of_a_list_leaves_the_places_of_the_others(tmp_path):
    path = tmp_path / "b.yaml"
    path.write_text(GOOD.replace("    variant: logit", "    corruption: {policy: nope}"), encoding="utf-8")
    reading = read_all(path, [], {})
    assert [s.name for s in reading.benchmark.strategies] == ["concat", "sum"]


def test_what_is_missing_is_stood_in_for(tmp_path):
    path = tmp_path / "b.yaml"
    path.write_text("encoders: {a: identity}\n", encoding="utf-8")
    reading = read_all(path, [], {})
    assert len(reading.problems) == 3
    assert reading.benchmark.task.name == STAND_IN
    assert list(reading.benchmark.encoders) == ["a"]
