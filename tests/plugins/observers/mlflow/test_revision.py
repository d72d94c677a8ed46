"""Which git revision a file belongs to, and what a curve says of it."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

import fusionbench
from fusionbench_plugins.observers.mlflow.observer import _revisions
from fusionbench_plugins.observers.mlflow.revision import Revision, revision_of
from tests.builders import make_run

NOBODY = {f"GIT_{role}_{what}": "tests@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def git(folder, *words):
    environment = {**os.environ, **NOBODY, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(["git", "-C", folder, *words], check=True, capture_output=True, text=True, env=environment)
    return done.stdout.strip()


@pytest.fixture
def file(tmp_path):
    """A file in a repository with one commit."""
    file = tmp_path / "repository" / "benchmarks" / "a.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("name: a\n", encoding="utf-8")
    git(tmp_path, "init", "--quiet", "repository")
    git(file.parent, "add", ".")
    git(file.parent, "commit", "--quiet", "-m", "first")
    return file


@needs_git
def test_a_committed_file_has_the_revision_that_is_checked_out(file):
    commit = git(file.parent, "rev-parse", "HEAD")
    assert revision_of(file) == Revision(commit, dirty=False, tracked=True)
    assert str(revision_of(file)) == commit


@needs_git
def test_a_change_anywhere_in_the_work_tree_is_said(file):
    other = file.parents[1] / "plugin.py"
    other.write_text("first", encoding="utf-8")
    assert not revision_of(file).dirty  # an untracked file beside it, a workspace for example, is no change
    git(other.parent, "add", "plugin.py")
    assert revision_of(file).dirty
    assert str(revision_of(file)).endswith(" with changes")


@needs_git
def test_names_in_any_encoding_are_no_problem(file):
    git(file.parent, "config", "core.quotePath", "false")
    other = Path(os.fsdecode(os.fsencode(file.parent) + b"/caf\xe9.txt"))  # latin-1
    try:
        other.write_text("first", encoding="utf-8")
    except OSError:
        pytest.skip("needs a file system that takes any bytes as a name")
    git(file.parent, "add", ".")
    assert revision_of(file).dirty


@needs_git
def test_a_file_that_is_not_tracked_is_a_change_itself(file):
    new = file.with_name("new.yaml")
    new.write_text("name: new\n", encoding="utf-8")
    found = revision_of(new)
    assert (found.dirty, found.tracked) == (True, False)


@needs_git
def test_a_repository_without_a_commit_has_none(tmp_path):
    git(tmp_path, "init", "--quiet")
    assert revision_of(tmp_path / "a.yaml") is None


def test_outside_a_repository_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert revision_of(tmp_path / "a.yaml") is None


def test_without_git_there_is_none(file, monkeypatch):
    monkeypatch.setenv("PATH", str(file.parent))
    assert revision_of(file) is None


@needs_git
def test_a_curve_has_the_revision_of_the_folder_of_its_benchmark_file(file, tmp_path):
    plan = replace(make_run(tmp_path / "runs").plan, file=file)
    tags = _revisions(plan)
    assert tags["mlflow.source.git.commit"] == git(file.parent, "rev-parse", "HEAD")
    assert tags["uncommitted changes"] == "false"
    file.write_text("name: b\n", encoding="utf-8")
    assert _revisions(plan)["uncommitted changes"] == "true"


@needs_git
def test_the_package_has_a_revision_of_its_own_where_it_is_a_checkout(file, tmp_path, monkeypatch):
    plan = make_run(tmp_path / "runs").plan
    monkeypatch.setattr(fusionbench, "__file__", str(file))
    assert _revisions(plan) == {"fusionbench revision": git(file.parent, "rev-parse", "HEAD")}
    installed = file.parents[1] / "site-packages" / "fusionbench" / "__init__.py"  # in somebody else's repository
    installed.parent.mkdir(parents=True)
    installed.touch()
    monkeypatch.setattr(fusionbench, "__file__", str(installed))
    assert _revisions(plan) == {}


def test_a_benchmark_file_reaches_the_plan_from_the_command_line(tmp_path, monkeypatch):
    from fusionbench.run.runner import Run
    from tests.front import TOY, toy_benchmark, write_yaml
    from tests.front import fusionbench as command

    plans = []
    execute = Run.execute
    monkeypatch.setattr(Run, "execute", lambda run, *given: plans.append(run.plan) or execute(run, *given))
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark())
    assert command("run", config, "-p", TOY, "--workspace", tmp_path / "runs").code == 0
    assert [Path(p.file) for p in plans] == [config]
