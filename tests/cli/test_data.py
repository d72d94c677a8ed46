"""``fusionbench data``: the three commands, and what cannot be written."""

from __future__ import annotations

from tests.front import TOY, fusionbench, toy_benchmark, write_yaml


def test_help_names_the_commands():
    said = fusionbench("data", "--help").out
    assert all(name in said for name in ("prepare", "check", "synth"))


def test_prepare_says_what_is_there_and_what_comes_next(tmp_path):
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark())
    outcome = fusionbench("data", "prepare", config, "-p", TOY, "--workspace", tmp_path / "runs", "--quiet")
    assert outcome.code == 0
    assert f"next: fusionbench run {config} -p {TOY} --workspace {tmp_path / 'runs'}" in outcome.out


def test_a_task_that_writes_nothing_is_refused(tmp_path):
    outcome = fusionbench("data", "synth", tmp_path / "new", "--task", "table")
    assert (outcome.code, "this task writes no synthetic data" in outcome.err) == (2, True)
    assert not (tmp_path / "new").exists()
