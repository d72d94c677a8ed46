"""How any arm's model is built: parts have seeds of their own, and what nobody reads is left out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fusionbench.contract.learners import Imputer
from fusionbench.data.completion import Completed
from fusionbench.errors import ConfigError
from fusionbench.missingness.corruption import Corruption
from tests.builders import make_run

ALONE = {"name": "unimodal", "modality": "b"}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """Blueprint and arms (by label) of a run of several arms."""
    arms = [
        "concat",
        "sum",
        {"name": "sum", "modalities": ["c", "a"]},
        {"name": "sum", "regularisers": ["tla"]},
        {"name": "concat", "label": "hiding", "imputers": ["mean"], "corruption": {"policy": "bernoulli", "rate": 0.3}},
        {**ALONE, "label": "alone"},
    ]
    run = make_run(tmp_path_factory.mktemp("run"), strategies=arms, imputers=["mean", "knn", "cra"])
    return run.blueprint, {a.label: a for a in run.resolved.arms}


def state(model, prefix=""):
    return {n: t for n, t in model.state_dict().items() if n.startswith(prefix)}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def test_a_seed_gives_one_model_and_another_seed_another(bench):
    blueprint, arms = bench
    one, again, other = (state(blueprint.build(arms["concat / mean"], s, {})) for s in (0, 0, 1))
    assert same(one, again)
    assert not same(one, other)


def test_folds_of_one_seed_start_from_other_weights_and_arms_of_one_fold_and_seed_from_the_same(bench):
    blueprint, arms = bench
    here, there, sum_here = (
        state(blueprint.build(arms[name], 3, {}, fold=fold), "project.")
        for name, fold in (("concat / mean", 1), ("concat / mean", 2), ("sum / cra", 1))
    )
    assert all(not torch.equal(here[n], there[n]) for n in here)
    assert same(here, sum_here)
    parts = [state(blueprint.build(arms["sum+tla / cra"], 3, {}, fold=fold)) for fold in (1, 2)]
    drawn = {n.partition(".")[0] for n, t in parts[0].items() if not torch.equal(t, parts[1][n])}
    assert drawn == {"project", "imputer", "fusion"}  # the regulariser draws nothing


def test_parts_that_arms_share_begin_alike_whatever_else_they_have(bench):
    blueprint, arms = bench
    models = {n: blueprint.build(arms[n], 3, {}) for n in ("concat / mean", "sum / cra", "sum on c+a / mean")}
    whole, other, some = (state(m, "project.") for m in models.values())
    assert same(whole, other)
    assert all(torch.equal(whole[n], t) for n, t in some.items())


def test_building_leaves_the_global_random_state_alone(bench):
    blueprint, arms = bench
    before = torch.get_rng_state()
    blueprint.build(arms["sum / cra"], 0, {})
    assert torch.equal(torch.get_rng_state(), before)


def test_a_model_has_what_it_reads_and_knows_its_columns(bench):
    blueprint, arms = bench
    found = {n: blueprint.build(arms[n], 0, {}) for n in ("sum / mean", "sum on c+a / mean", "alone / mean")}
    assert {n: (m.modalities, m.columns) for n, m in found.items()} == {
        "sum / mean": (["a", "b", "c"], (0, 1, 2)),
        "sum on c+a / mean": (["a", "c"], (0, 2)),
        "alone / mean": (["b"], (1,)),
    }
    assert list(found["alone / mean"].fusion.spec.dims) == ["b"]


def test_options_reach_the_part_that_they_are_named_for(bench):
    blueprint, arms = bench
    carried = arms["sum+tla / cra"]
    model = blueprint.build(carried, 0, {"imputer.lambda_2": 3.5, "regulariser.0.weight": 0.25})
    assert (float(model.imputer.lambda_2), float(model.regularisers[0].weight)) == (3.5, 0.25)


def test_a_strategy_knows_the_width_of_its_imputers_code(bench):
    blueprint, arms = bench
    model = blueprint.build(arms["sum / cra"], 0, {})
    assert model.fusion.spec.latent_dim == model.imputer.latent_dim > 0
    assert blueprint.build(arms["sum / mean"], 0, {}).fusion.spec.latent_dim == 0


def test_an_imputer_of_inputs_has_done_its_work_before_the_model(bench):
    blueprint, arms = bench
    assert isinstance(blueprint.build(arms["sum / knn"], 0, {}).imputer, Completed)
    assert blueprint.input_imputer(arms["sum / knn"]).level == "input"
    assert blueprint.input_imputer(arms["sum / mean"]) is None
    assert issubclass(type(blueprint.build(arms["sum / mean"], 0, {}).imputer), Imputer)


def test_without_a_common_width_each_modality_keeps_its_own(bench):
    blueprint, _ = bench
    assert dict(blueprint.fusion_spec(["c", "a"]).dims) == {"a": 4, "c": 4}
    own = {n: replace(m, dim=d) for (n, m), d in zip(blueprint.modalities.items(), (7, 8, 9), strict=True)}
    bare = blueprint.benchmark.model_copy(
        update={"model": blueprint.benchmark.model.model_copy(update={"width": None})}
    )
    assert dict(replace(blueprint, modalities=own, benchmark=bare).fusion_spec("abc").dims) == {"a": 7, "b": 8, "c": 9}
    assert dict(replace(blueprint, modalities=own).fusion_spec("abc").dims) == dict.fromkeys("abc", 4)


def test_the_strictest_part_decides_what_is_hidden_and_a_setting_is_asked_first(bench):
    blueprint, arms = bench

    def policy(label):
        return blueprint.policy(arms[label], blueprint.build(arms[label], 0, {}))

    assert policy("sum / mean") == Corruption("none", 0.0)
    cra = blueprint.build(arms["sum / cra"], 0, {}).imputer.corruption
    assert cra != "none"
    assert policy("sum / cra") == Corruption(cra)
    assert policy("hiding / mean") == Corruption("bernoulli", 0.3)
    less = replace(arms["sum / cra"], corruption=Corruption("bernoulli", 0.3))
    with pytest.raises(ConfigError, match=r"'bernoulli' at 0.3 hides less than imputer 'cra' needs"):
        blueprint.policy(less, blueprint.build(less, 0, {}))


def test_arms_have_one_signature_only_where_their_models_can_be_stacked(bench):
    blueprint, arms = bench
    signatures = {n: blueprint.signature(arms[n], {}) for n in arms}
    assert len(set(signatures.values())) == len(signatures)
    assert blueprint.signature(arms["concat / mean"], {"head_hidden": 3}) != signatures["concat / mean"]


def test_arms_that_differ_in_a_weight_of_imputer_or_regulariser_only_are_trained_together(tmp_path):
    run = make_run(tmp_path, imputers=["cra"], strategies=[{"name": "sum", "regularisers": ["tla"]}])
    (arm,) = run.resolved.arms
    signature = run.blueprint.signature
    same = signature(arm, {"imputer.lambda_2": 2.0, "regulariser.0.weight": 0.1})
    assert same == signature(arm, {"imputer.lambda_2": 9.0, "regulariser.0.weight": 0.9})
    assert same != signature(arm, {"imputer.blocks": 2, "regulariser.0.weight": 0.9})
