"""YAML as plain data with places: what is a number, what is refused with which line, --set, variables."""

from __future__ import annotations

import pytest

from fusionbench.config.document import Places, assign, fill_in, merge, parse, parse_assignment, read_document
from fusionbench.config.reading import load_benchmark
from fusionbench.errors import ConfigError
from tests.config.toy_file import GOOD, load, one, problems


@pytest.mark.parametrize(("written", "number"), [("1e-3", 1e-3), ("1E5", 1e5), ("-.5e-1", -0.05), ("1.e2", 100.0)])
def test_numbers_with_an_exponent_are_numbers_in_options_too(tmp_path, written, number):
    options = load(tmp_path, GOOD.replace("rows: 120", f"rows: {written}")).task.options
    assert options == {"rows": number}


def test_dates_and_versions_are_text(tmp_path):
    options = load(tmp_path, GOOD.replace("rows: 120", "day: 2020-01-31, version: 1.2.3")).task.options
    assert options == {"day": "2020-01-31", "version": "1.2.3"}


def test_anchors_and_merge_keys_are_yaml(tmp_path):
    text = GOOD.replace("hidden: 8}", "hidden: 8, <<: &more {depth: 2}}").replace(
        "variant: logit", "variant: logit\n    <<: *more"
    )
    benchmark = load(tmp_path, text)
    assert benchmark.encoders["b"].options == {"hidden": 8, "depth": 2}
    assert benchmark.strategies[1].options == {"variant": "logit", "depth": 2}


def test_every_repeated_key_is_named_with_both_lines(tmp_path):
    found = problems(tmp_path, GOOD + "missingness: {where: test}\nsplits: {folds: 3, folds: 4}\n")
    assert found == [
        "b.yaml:12: key 'missingness' is given twice, first in line 10",
        "b.yaml:13: key 'folds' is given twice, first in line 13",
    ]


@pytest.mark.parametrize(
    ("text", "line"), [("name: [1\ntask: x\n", 2), ("a: b: c\n", 1), ("\tname: x\n", 1), ("a: *x\n", 1), ("a: 1\n--- \nb: 2\n", 2)]
)  # fmt: skip
def test_invalid_yaml_is_reported_with_its_line(tmp_path, text, line):
    assert one(tmp_path, text).startswith(f"b.yaml:{line}: not valid YAML: ")


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n", "5\n", "null\n", "just words\n"])
def test_a_file_that_is_no_mapping_says_what_it_should_hold(tmp_path, text):
    assert one(tmp_path, text) == (
        "b.yaml: a benchmark file holds a mapping with 'name', 'task', 'encoders', 'strategies'"
    )


@pytest.mark.parametrize(
    "text",
    [
        "a: &x [*x]\n",
        "a: " + "[" * 1200,
        "a: " + "{b: " * 40 + "1" + "}" * 40,
        "a: &a [1,1,1,1,1,1,1,1,1]\n"
        + "".join(f"{n}: &{n} [{', '.join(['*' + p] * 9)}]\n" for p, n in zip("abcdef", "bcdefg", strict=True)),
    ],
    ids=["endless", "deep list", "deep mapping", "aliases of aliases"],
)
def test_documents_without_end_are_refused(tmp_path, text):
    assert "nested deeper than 32 levels" in problems(tmp_path, text)[0]


def test_missing_file_names_the_nearest(tmp_path):
    (tmp_path / "mimic_ihm.yaml").touch()
    with pytest.raises(ConfigError, match=r"mimic_imh.yaml: no such file; did you mean 'mimic_ihm.yaml'\?"):
        load_benchmark(tmp_path / "mimic_imh.yaml")


def test_folder_and_binary_file_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read as UTF-8 text"):
        load_benchmark(tmp_path)
    (tmp_path / "b.yaml").write_bytes(b"name: \xff\n")
    with pytest.raises(ConfigError, match="cannot be read as UTF-8 text"):
        load_benchmark(tmp_path / "b.yaml")


def test_set_reaches_nested_keys_and_list_entries(tmp_path):
    benchmark = load(
        tmp_path,
        GOOD,
        "training.epochs=7",
        "missingness.rates=[0, 0.25]",
        "strategies.1.variant=embedding",
        "task.rows=1e3",
        "encoders.b.hidden=",
    )
    assert benchmark.training.epochs == 7
    assert benchmark.missingness.rates == (0.0, 0.25)
    assert benchmark.strategies[1].options == {"variant": "embedding"}
    assert benchmark.task.options == {"rows": 1000.0}
    assert benchmark.encoders["b"].options == {"hidden": None}


def test_set_gives_options_to_a_bare_plugin_name(tmp_path):
    benchmark = load(tmp_path, GOOD, "strategies.0.head_hidden=64", "encoders.a.depth=2", "missingness.mechanism=mar")
    assert benchmark.strategies[0].options == {"head_hidden": 64}
    assert benchmark.strategies[0].name == "concat"
    assert benchmark.encoders["a"].options == {"depth": 2}
    assert benchmark.missingness.mechanism.name == "mar"


def test_set_of_another_plugin_replaces_it_with_its_options(tmp_path):
    benchmark = load(tmp_path, GOOD, "encoders.b={name: lstm, layers: 1}", "strategies.1=late_average")
    assert benchmark.encoders["b"].options == {"layers": 1}
    assert benchmark.strategies[1].options == {}


def test_set_of_a_mapping_without_a_name_is_laid_over(tmp_path):
    benchmark = load(tmp_path, GOOD, "encoders.b={depth: 3}", "encoders.a={depth: 4}")
    assert benchmark.encoders["b"].options == {"hidden": 8, "depth": 3}
    assert benchmark.encoders["a"].options == {"depth": 4}


def test_set_fills_an_empty_section(tmp_path):
    assert load(tmp_path, GOOD + "training:\n", "training.epochs=3").training.epochs == 3


def test_later_set_wins(tmp_path):
    assert load(tmp_path, GOOD, "training.epochs=3", "training.epochs=4").training.epochs == 4


def test_variables_are_filled_in_with_defaults(tmp_path):
    text = GOOD.replace("rows: 120", "root: '${ROOT}/x', other: '${OTHER:-/y}', cxr: '${CXR:-}', rest: 'a${CXR:-}b'")
    options = load(tmp_path, text, ROOT="/data").task.options
    assert options == {"root": "/data/x", "other": "/y", "cxr": None, "rest": "ab"}


def test_variables_can_hold_numbers_of_the_benchmark_itself(tmp_path):
    assert load(tmp_path, GOOD + "training: {epochs: '${EPOCHS:-5}'}\n").training.epochs == 5


def test_the_value_of_a_variable_is_taken_literally(tmp_path):
    text = GOOD.replace("rows: 120", "root: '${ROOT}'")
    assert load(tmp_path, text, ROOT="${HOME}: [").task.options == {"root": "${HOME}: ["}


def test_unset_and_empty_variables_are_problems_with_a_line(tmp_path):
    text = GOOD.replace("rows: 120", "root: '${ROOT}'")
    expected = "b.yaml:2: task.root: environment variable ROOT is not set; set it, or write ${ROOT:-default}"
    assert one(tmp_path, text) == expected
    assert one(tmp_path, text, ROOT="") == expected


def test_set_is_filled_in_too(tmp_path):
    assert load(tmp_path, GOOD, "task.root=${ROOT}/x", ROOT="/data").task.options["root"] == "/data/x"
    assert one(tmp_path, GOOD, "task.root=${ROOT}").startswith("--set task.root=${ROOT}: task.root: environment")


# ---------------------------------------------------------------- the parts themselves


def test_every_value_has_the_line_that_it_was_given_in():
    document, places = parse("a: 1\nb:\n  - x\n  - {c: 2}\n", lambda line: f"f:{line}")
    assert document == {"a": 1, "b": ["x", {"c": 2}]}
    assert places == {
        (): "f:1",
        ("a",): "f:1",
        ("b",): "f:2",
        ("b", 0): "f:3",
        ("b", 1): "f:4",
        ("b", 1, "c"): "f:4",
    }


def test_what_was_not_given_lies_where_its_parent_was():
    places = Places({(): "f:1", ("b",): "f:2"})
    assert places.at(("b", 1, "c")) == "f:2: b[1].c: "
    assert places.at(("z",)) == "f:1: z: "
    assert places.at(()) == "f:1: "


def test_what_is_marked_is_marked_with_all_that_is_in_it():
    places = Places({(): "f:1", ("b",): "f:2", ("b", "x"): "f:3"})
    places.mark(("b",), {"x": [5]}, "--set b={x: [5]}")
    assert places.at(("b", "x", 0)) == "--set b={x: [5]}: b.x[0]: "


def test_what_is_laid_over_the_top_counts_as_given_there():
    places = Places({(): "f:1", ("a",): "f:1", ("demo",): "f:8", ("demo", "a"): "f:9"})
    places.lay_over(("demo",))
    assert places.at(("a",)) == "f:9: a: "
    assert places.at(()) == "f:1: "


@pytest.mark.parametrize(
    ("base", "overlay", "wanted"),
    [
        ({"name": "mlp", "hidden": 8}, {"depth": 2}, {"name": "mlp", "hidden": 8, "depth": 2}),
        ({"name": "mlp", "hidden": 8}, {"name": "lstm"}, {"name": "lstm"}),
        ("mlp", {"depth": 2}, {"name": "mlp", "depth": 2}),
        ({"name": "mlp"}, "lstm", "lstm"),
        ([1, 2], [3], [3]),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, {"a": {"b": 3, "c": 2}}),
        ({"a": 1}, None, None),
    ],
)
def test_mappings_are_laid_over_each_other_unless_they_are_other_plugins(base, overlay, wanted):
    assert merge(base, overlay) == wanted


def test_merging_leaves_both_as_they_were():
    base, overlay = {"a": {"b": 1}}, {"a": {"c": [2]}}
    merged = merge(base, overlay)
    merged["a"]["c"].append(3)
    assert (base, overlay) == ({"a": {"b": 1}}, {"a": {"c": [2]}})


def test_an_assignment_is_keys_and_a_yaml_value():
    assert parse_assignment("a.b.0=[1, x=2]") == (["a", "b", "0"], [1, "x=2"])
    assert parse_assignment("a=") == (["a"], None)


def test_what_an_assignment_makes_on_its_way_has_its_place():
    document, places = {"a": None}, Places({(): "f:1", ("a",): "f:1"})
    assign(document, places, "a.b.c=5")
    assert document == {"a": {"b": {"c": 5}}}
    assert places.at(("a", "b", "c")) == "--set a.b.c=5: a.b.c: "


def test_a_document_is_read_with_its_path_in_every_place(tmp_path):
    path = tmp_path / "b.yaml"
    path.write_text("name: x\ntask: toy\n", encoding="utf-8")
    document, places = read_document(path)
    assert document == {"name": "x", "task": "toy"}
    assert places.at(("task", "rows")) == f"{path}:2: task.rows: "


def test_unset_variables_are_collected_and_the_document_stays_as_it_was():
    found = []
    document = {"a": ["${X}", "${Y:-7}/${X}"], "b": "${Z:-}"}
    filled = fill_in(document, {}, Places({(): "f:1"}), found)
    assert filled["a"][1] == "7/"
    assert filled["b"] is None
    assert [p.split(": environment")[0] for p in found] == ["f:1: a[0]", "f:1: a[1]"]
    assert document == {"a": ["${X}", "${Y:-7}/${X}"], "b": "${Z:-}"}


# ---------------------------------------------------------------- what no file can hold, and numbers without end


@pytest.mark.parametrize("escape", [r"\U00110000", r"\UFFFFFFFF"])
@pytest.mark.parametrize("place", ["a: {}", "{}: 1", "a: [b, {}]"])
def test_an_escape_that_stands_for_no_character_is_named_with_its_line(escape, place):
    with pytest.raises(ConfigError, match=r"line 2: not valid YAML: an escape that stands for no character"):
        parse("x: 1\n" + place.format(f'"{escape}"'), lambda line: f"line {line}")


@pytest.mark.parametrize("text", [r'a: "\ud800"', r'"\udfff": 1', r'a: [1, "x\uDC00"]'])
def test_half_a_character_is_refused(text):
    with pytest.raises(ConfigError, match=r"line 1: .*half a character"):
        parse(text, lambda line: f"line {line}")


@pytest.mark.parametrize("text", [r'a: "x\0y"', r'"\0": 1', r'a: {b: "\x00"}'])
def test_the_character_nul_is_refused(text):
    with pytest.raises(ConfigError, match=r"line 1: .*NUL"):
        parse(text, lambda line: f"line {line}")


@pytest.mark.parametrize(
    "number", ["9" * 4300, "9" * 5000, "-" + "9" * 30, str(2**63), "0x" + "f" * 40, "0b" + "1" * 70, "1" + "_0" * 60]
)
def test_whole_numbers_of_more_than_64_bits_are_refused(number):
    with pytest.raises(ConfigError, match=r"line 2: not valid YAML: .*more than 64 bits") as caught:
        parse(f"x: 1\na: [{number}]", lambda line: f"line {line}")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 0, 0x7FF])
def test_whole_numbers_of_64_bits_are_read(number):
    assert parse(f"a: {number}", str)[0] == {"a": number}


@pytest.mark.parametrize("assignment", ["a=\udcff", "a\udcff=1", "a=x\0"])
def test_bytes_of_the_command_line_that_are_no_text_are_refused(assignment):
    with pytest.raises(ConfigError, match=r"--set a.*(half a character|NUL)") as caught:
        parse_assignment(assignment)
    str(caught.value).encode()  # the message itself can be printed


def test_a_variable_that_is_no_text_is_refused():
    problems: list[str] = []
    fill_in({"a": "${X}"}, {"X": "/data/\udcff"}, Places({(): "here"}), problems)
    assert len(problems) == 1
    assert "environment variable X: a text holds half a character" in problems[0]


def test_a_place_in_a_list_may_not_be_without_end():
    with pytest.raises(ConfigError, match="the list has entries 0 to 0"):
        assign({"a": [1]}, Places({(): "here"}), f"a.{'9' * 5000}=1")


def test_a_key_without_end_is_refused_and_not_printed():
    with pytest.raises(ConfigError, match=r"line 1: a key: aaa.* has 20,000 characters") as caught:
        parse(f"? {'a' * 20_000}\n: 1", lambda line: f"line {line}")
    assert len(str(caught.value)) < 200
