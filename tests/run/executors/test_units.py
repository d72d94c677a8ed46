"""A run divided: every model once, in balance, with the results of one process."""

from __future__ import annotations

import json
import shlex
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fusionbench.errors import ConfigError
from fusionbench.run.executors.units import Shard, divided, keys_of, units_of
from fusionbench.training.devices.device import find_devices
from tests.builders import make_run, run_toy, stored
from tests.front import TOY, tables, toy_benchmark, write_yaml
from tests.front import run_toy as run_command

TUNED = {
    "strategies": ["sum", "concat"],
    "splits": {"folds": 3, "seeds": [0, 1]},
    "tuning": {"trials": 2, "common": {"learning_rate": {"low": 0.001, "high": 0.1, "log": True}}},
}


# --------------------------------------------------------------------------------------------
# dividing


def planned(arms, folds, seeds=2):
    return [
        SimpleNamespace(study=f"{arm}-{fold}", arm=arm, key=f"{arm}-{fold}-{seed}")
        for arm in range(arms)
        for fold in range(folds)
        for seed in range(seeds)
    ]


@pytest.mark.parametrize(
    ("arms", "folds", "parts", "wanted"),
    [
        (8, 5, 4, [10, 10, 10, 10]),
        (3, 5, 2, [7, 8]),
        (1, 5, 4, [1, 1, 2, 1]),
        (1, 2, 4, [0, 1, 0, 1]),
        (2, 3, 1, [6]),
    ],
)
def test_shares_have_about_as_many_studies(arms, folds, parts, wanted):
    found = divided(planned(arms, folds), parts, lambda _: 20)
    assert [len({f.study for f in part}) for part in found] == wanted


def test_shares_weigh_a_study_by_the_models_of_its_inner_folds(tmp_path, monkeypatch):
    heavy = make_run(tmp_path, **{**TUNED, "tuning": {**TUNED["tuning"], "inner_folds": 5}})
    weights = {}

    def spied(fits, shares, trials):
        weights.update({f.untuned: trials(f.study) for f in fits})
        return divided(fits, shares, trials)

    monkeypatch.setattr("fusionbench.run.executors.units.divided", spied)
    keys_of(heavy, Shard(1, 2))
    assert weights == {False: 2 * 5, True: 0}


def test_arms_are_whole_where_they_divide_evenly():
    found = divided(planned(8, 5), 4, lambda _: 20)
    assert [{f.arm for f in part} for part in found] == [{0, 1}, {2, 3}, {4, 5}, {6, 7}]


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 30)), min_size=1, max_size=60),
    st.integers(1, 9),
)
def test_no_share_trains_more_than_the_mean_and_one_study(studies, parts):
    fits = [
        SimpleNamespace(study=str(i), key=f"{i}-{k}") for i, (_, models) in enumerate(studies) for k in range(models)
    ]
    found = divided(fits, parts, lambda study: studies[int(study)][0])
    assert [f for part in found for f in part] == fits  # each once, in order
    whole = [{f.study for f in part} for part in found]
    assert sum(map(len, whole)) == len(studies)  # no study in two shares
    loads = [sum(sum(studies[int(s)]) for s in part) for part in whole]
    assert max(loads) <= sum(loads) / parts + max(map(sum, studies))


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "a/b", "-1/2", "1/2/3"])
def test_what_is_no_share_is_refused_with_what_is_accepted(text):
    with pytest.raises(ConfigError, match=r"no share; accepted: one of how many, as 1/4, 2/4"):
        Shard.parse(text)


def test_an_arm_that_is_named_twice_is_in_one_share(tmp_path):
    """Its studies have one key, and two processes could not both hold it."""
    run = make_run(tmp_path, strategies=["sum", {"name": "sum", "label": "again"}], splits={"folds": 2})
    found = divided(run.plan.fits, 2, lambda _: 3)
    keys = [{f.study for f in part} for part in found]
    assert not keys[0] & keys[1]


# --------------------------------------------------------------------------------------------
# units of an executor


def in_units(fits, todo, wanted, open_trials=lambda _: 0):
    named = [SimpleNamespace(**vars(f), arm_label=f.arm) for f in fits]
    for f in named:
        f.arm, f.fold = SimpleNamespace(label=f"arm {f.arm}"), int(f.study.split("-")[1])
    return units_of(named, todo, wanted, lambda _: 3, open_trials)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 9), st.data())
def test_units_hold_every_model_that_is_to_be_done_once_and_the_largest_is_first(arms, folds, wanted, data):
    fits = planned(arms, folds)
    todo = data.draw(st.sets(st.sampled_from([f.key for f in fits])))
    units = in_units(fits, todo, wanted, lambda _: 2)
    models = [key for unit in units for key in unit.models]
    assert sorted(models) == sorted(todo)
    assert [u.steps for u in units] == sorted((u.steps for u in units), reverse=True)
    study = {f.key: f.study for f in fits}
    assert sum(u.steps for u in units) == len(todo) + 2 * len({study[key] for key in todo})
    whole = [{study[key] for key in unit.models} for unit in units]
    assert sum(map(len, whole)) == len(set().union(*whole))  # no search in two units


def test_a_unit_has_the_same_name_whatever_of_it_is_stored():
    fits = planned(4, 3)
    every = {u.name: set(u.models) for u in in_units(fits, [f.key for f in fits], 5)}
    rest = {u.name: set(u.models) for u in in_units(fits, [f.key for f in fits[7:]], 5)}
    assert rest.keys() < every.keys()
    assert all(models <= every[name] for name, models in rest.items())


def test_a_unit_says_what_it_is():
    fits = planned(2, 2)
    assert [u.title for u in in_units(fits, [f.key for f in fits], 1)] == ["arm 0 and 1 more, 2 folds"]
    assert {u.title for u in in_units(fits, [f.key for f in fits], 4)} == {
        f"arm {a}, fold {f}" for a in (0, 1) for f in (0, 1)
    }
    assert in_units(fits, [], 4) == []
    assert units_of([], [], 4, lambda _: 0, lambda _: 0) == []


# --------------------------------------------------------------------------------------------
# shares one after the other


@pytest.mark.parametrize(
    "changes",
    [TUNED, {"missingness": {"rates": [0, 0.5], "where": "both"}, "imputers": ["mean", "knn"]}],
    ids=["tuned", "trained at each rate"],
)
def test_shares_leave_what_one_process_leaves(tmp_path, changes):
    whole, wanted = run_toy(tmp_path / "whole", **changes)
    trained = []
    for number in (2, 1, 3):
        run = make_run(tmp_path / "shared", **changes)  # plans anew: what others have stored changes no division
        run.take(keys_of(run, Shard(number, 3)))
        worked = run.work()
        assert worked.failures == {}
        trained.append(len(worked.trained))
    assert sum(trained) == len(whole.plan.fits) + len(whole.plan.untuned)
    # a share of untuned models alone trains more models, and no trial
    assert max(trained) - min(trained) <= 2 * len(whole.benchmark.splits.seeds) + len(whole.plan.untuned) // 2
    run, summary = run_toy(tmp_path / "shared", **changes)
    assert summary.trained == 0
    for key, result in stored(whole).items():
        found = stored(run)[key]
        assert all((found["logits"][c] == p).all() for c, p in result["logits"].items())
    assert summary.tables.cells.equals(wanted.tables.cells)
    assert summary.tables.curves.equals(wanted.tables.curves)


def test_a_share_forgets_its_own_results_only(tmp_path):
    run_toy(tmp_path)
    run = make_run(tmp_path)
    mine = keys_of(run, Shard(1, 2))
    run.take(mine)
    run.forget()
    assert {f.key for f in run.plan.todo} == set(mine)
    assert run.work().trained == set(mine)


def test_a_share_of_selected_arms_divides_these(tmp_path):
    run = make_run(tmp_path)
    run.select("sum")
    parts = [keys_of(run, Shard(i, 2)) for i in (1, 2)]
    assert [len(p) for p in parts] == [1, 1]
    run.take(parts[0])
    assert [f.arm.title for f in run.plan.todo] == ["sum"]


def test_models_that_are_not_in_the_plan_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="1 of 1 models are not in the plan: the benchmark file"):
        make_run(tmp_path).take(["0" * 32])


def test_the_command_works_on_a_share_and_leaves_the_tables_to_the_last(tmp_path):
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark())
    shared, whole = tmp_path / "shared", tmp_path / "whole"
    first = run_command(config, shared, "--shard", "1/2")
    assert first.code == 0
    (line,) = [s for s in first.out.splitlines() if s.startswith("share ")]
    command = shlex.join(["fusionbench", "run", str(config), "-p", TOY, "--workspace", str(shared)])
    assert line == f"share 1 of 2 done: 2 models trained; `{command}` makes the tables when all shares are"
    assert not (shared / "reports").exists()
    second = run_command(config, shared, "--shard", "2/2", "--json")
    (event,) = [e for e in map(json.loads, second.out.splitlines()) if e["event"] == "share"]
    assert event == {
        "event": "share",
        "share": "2 of 2",
        "trained": 2,
        "failures": [],
        "interrupted": False,
        "next": command,
    }
    last = run_command(config, shared)
    assert "done: 0 models trained" in last.out
    run_command(config, whole, "--quiet")
    assert tables(shared) == tables(whole)


def test_a_share_that_is_none_is_said_before_the_data_are_read(tmp_path):
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark())
    found = run_command(config, tmp_path / "runs", "--shard", "5/4")
    assert found.code == 2
    assert "--shard 5/4: no share" in found.err
    assert not (tmp_path / "runs").exists()


# --------------------------------------------------------------------------------------------
# devices


def test_devices_are_a_list_or_all(monkeypatch):
    assert find_devices("cpu,cpu") == [torch.device("cpu")] * 2
    assert find_devices("cpu") == [torch.device("cpu")]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert [str(d) for d in find_devices("cuda:all")] == ["cuda:0", "cuda:1", "cuda:2"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("cpu,tpu", "--device tpu: no such device"),
        ("cpu,", "--device : no such device"),
        ("cuda:all", "--device cuda:all: this machine has no CUDA device"),
    ],
)
def test_a_device_that_cannot_be_used_is_named(names, said, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=said):
        find_devices(names)
