"""``fusionbench check``: a plugin's exam on the screen, and a benchmark file that is read and not run."""

from __future__ import annotations

import re
import shlex

import pytest

from fusionbench.testing import CHECKS
from fusionbench.testing.checks import CheckResult, sentence
from tests.front import TOY, distribution, fusionbench, strategy, toy_benchmark, write_yaml

LEAK = '''
"""Reads what is not there."""

import torch
from torch import nn

from fusionbench import FusionStrategy, Provenance, hookimpl


class Leaky(FusionStrategy):
    """A head on all there is, and all there is not.

    Args:
        spec: Widths and outputs.
        scale: Multiplies.
    """

    provenance = Provenance(paper="none: written for a test")

    def __init__(self, spec, scale: float = 1.0):
        super().__init__(spec)
        self.scale = scale
        self.head = nn.Linear(sum(spec.dims.values()), spec.num_outputs)

    def forward(self, batch):
        return self.scale * self.head(torch.cat([batch.features[n] for n in self.spec.names], dim=-1))


@hookimpl
def register_fusion_strategies(register):
    register("leaky", Leaky)
'''


@pytest.fixture
def leaky(tmp_path):
    path = tmp_path / "leaky.py"
    path.write_text(LEAK, encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", CHECKS)
def test_every_check_says_why_it_matters_and_how_to_mend_it(kind):
    for check in CHECKS[kind]:
        result = CheckResult(sentence(check), "failed", "found", check.__doc__ or "")
        assert result.why.endswith((".", "?")), check
        assert result.mend.endswith((".", "``")), check
        assert "\n" not in result.why + result.mend


def test_a_built_in_passes_and_is_priced():
    outcome = fusionbench("check", "regularisers.tla")
    assert outcome.code == 0, outcome
    lines = outcome.out.splitlines()
    assert lines[0].startswith("regulariser 'tla' of fusionbench-core ")
    assert [line for line in lines if "FAIL" in line] == []
    marks = [line.split()[0] for line in lines[1:] if re.match(r"  (pass|n/a) ", line)]
    assert len(marks) == len(CHECKS["regulariser"])
    assert re.search(rf"  {len(marks)} checks in \d+\.\d s: \d+ passed, 0 failed", outcome.out)
    assert re.search(
        r"milliseconds for each planned step of training +[\d.]+ +against [\d.]+ \([\d.]+ times\)", outcome.out
    )


def test_a_failure_says_what_was_found_why_it_matters_and_how_to_mend_it(leaky):
    outcome = fusionbench("check", leaky, "--only", "absent_content_is_never_read")
    assert outcome.code == 1
    found = " ".join(outcome.out.split())
    assert "FAIL absent content is never read found: " in found
    assert "the answer changed when absent rows were filled with 1e+30 (logits)" in found
    assert "why: Content of an absent modality is undefined; a plugin that reads it learns from noise" in found
    assert "mend: read through ``batch.completed(name)``" in found
    assert "1 checks in" in found
    assert "cost" not in found


def test_a_file_given_twice_and_a_name_in_it_are_one_plugin(leaky):
    only = ("--only", "provenance_is_given")
    for words in (("check", leaky), ("check", leaky, "-p", leaky), ("check", "leaky", "-p", leaky)):
        outcome = fusionbench(*words, *only)
        assert outcome.code == 0, outcome
        assert outcome.out.count("leaky'") == 1


def test_a_module_and_an_installed_name_are_examined(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "guest_to_check.py").write_text(strategy("guest"), encoding="utf-8")
    assert fusionbench("check", "guest_to_check", "--only", "same_seed_gives_same_weights").code == 0
    distribution(tmp_path, "guest-fusion", {"strategies.guest": "guest_to_check"}, version="2.1")
    outcome = fusionbench("check", "guest", "--only", "same_seed_gives_same_weights")
    assert outcome.out.startswith("fusion strategy 'guest' of guest-fusion 2.1\n")


def test_options_are_given_with_set_and_refused_when_unknown(leaky):
    only = ("--only", "provenance_is_given")
    assert "with scale=2.0" in fusionbench("check", leaky, "--set", "scale=2.0", *only).out
    outcome = fusionbench("check", leaky, "--set", "scole=2.0", *only)
    assert (outcome.code, outcome.out) == (2, "")
    assert "has no option 'scole'; did you mean 'scale'?" in outcome.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["check", "concta"], "no plugin named 'concta'; did you mean 'concat'?"),
        (["check", "no_such_file.py"], "no_such_file.py cannot be used"),
        (["check", "concat", "--only", "order"], "--only order: no such check"),
        (
            ["check", "observers.files"],
            "there are no checks for this kind; there are for: strategy, fitted strategy, imputer",
        ),
        (
            ["check", "mimic_ihm"],
            "task 'mimic_ihm' of fusionbench-core 0.1.0 cannot be examined: task mimic_ihm: neither root nor",
        ),
    ],
)
def test_what_cannot_be_examined_is_said_in_one_message(words, message):
    outcome = fusionbench(*words)
    assert outcome.code == 2
    assert message in outcome.err


def test_an_expected_failure_shows_its_reason_and_is_no_failure():
    outcome = fusionbench("check", "medfuse", "--only", "modality_order_does_not_matter")
    assert outcome.code == 0
    assert (
        "known modality order does not matter: a recurrent network reads the modalities in a fixed order" in outcome.out
    )


def test_a_task_is_examined_with_its_own_rows():
    outcome = fusionbench("check", "planted", "--set", "rows=60")
    assert outcome.code == 0, outcome
    assert "pass  the same options give the same data" in outcome.out


# --------------------------------------------------------------------------------------------
# a benchmark file


def test_a_valid_file_is_described_and_nothing_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark(imputers=["zero", "mean"]))
    outcome = fusionbench("check", config, "-p", TOY)
    assert outcome.code == 0, outcome
    assert "toy: no problem found in the file\n" in outcome.out
    assert "  4 arms: concat / zero, concat / mean, sum / zero, sum / mean\n" in outcome.out
    command = shlex.join(["fusionbench", "run", str(config), "--dry-run", "-p", TOY])
    assert outcome.out.endswith(f"next, with its data: {command}\n")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["toy.yaml"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strategies": ["concta"]}, "no fusion strategy named 'concta'; did you mean 'concat'?"),
        (
            {"strategies": [{"name": "concat", "head_hiden": 4}]},
            "has no option 'head_hiden'; did you mean 'head_hidden'?",
        ),
        ({"strategies": [{"name": "attention", "heads": 3}]}, "strategies[0]"),
        (
            {"strategies": [{"name": "concat", "modalities": ["a", "z"]}]},
            "strategies[0].modalities: the task offers a, b, c",
        ),
        ({"missingness": {"mechanism": {"name": "mar", "strength": 5}}}, "missingness.mechanism"),
        ({"training": {"epochs": -1}}, "training.epochs"),
    ],
)
def test_problems_are_those_of_a_run(tmp_path, changes, message):
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark(**changes))
    outcome = fusionbench("check", config, "-p", TOY)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error: {config}:")
    assert message in outcome.err


SEVERAL = {
    "strategies": [{"name": "attention", "heads": 3}, {"name": "concat", "modalities": ["a", "b"]}],
    "imputers": [{"name": "knn", "k": 0}],
}


def test_values_that_constructors_refuse_are_all_said_at_once(tmp_path):
    outcome = fusionbench("check", write_yaml(tmp_path / "toy.yaml", toy_benchmark(**SEVERAL)), "-p", TOY)
    assert outcome.code == 2
    assert "strategies[0]" in outcome.err
    assert "k must be at least 1" in outcome.err


def test_a_run_says_what_is_refused_of_every_arm_at_once(tmp_path):
    wrong = [{"name": "attention", "heads": 3}, {"name": "lmf", "rank": 0}, "concat"]
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark(strategies=wrong))
    outcome = fusionbench("run", config, "-p", TOY, "--dry-run", "--quiet", "--workspace", tmp_path / "ws")
    assert outcome.code == 2
    assert "strategies[0]" in outcome.err
    assert "strategies[1]" in outcome.err


def test_a_refused_task_does_not_hide_what_else_is_refused(tmp_path):
    changes = {
        **SEVERAL,
        "task": {"name": "planted", "rows": 3},
        "missingness": {"mechanism": {"name": "mar", "strength": 5}},
    }
    outcome = fusionbench("check", write_yaml(tmp_path / "toy.yaml", toy_benchmark(**changes)), "-p", TOY)
    for said in ("rows must be a whole number", "strategies[0]", "k must be at least 1", "missingness.mechanism"):
        assert said in outcome.err
