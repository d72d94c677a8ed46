"""G-Blend beyond the parity files: stages, probes and the weights at the edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fusionbench import Batch, FusionSpec, TargetKind
from fusionbench.contract.stages import SplitLosses
from fusionbench_plugins.strategies.g_blend import GBlend, blend_weights

SPEC = FusionSpec({"ehr": 3, "cxr": 2}, num_outputs=1, kind=TargetKind.BINARY)
TARGET = torch.tensor([0, 1, 1, 0])


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def make_batch() -> Batch:
    generator = torch.Generator().manual_seed(5)
    features = {n: torch.randn(4, d, generator=generator, requires_grad=True) for n, d in SPEC.dims.items()}
    return Batch(
        features, {"ehr": torch.tensor([True, True, True, False]), "cxr": torch.tensor([True, False, True, True])}
    )


@pytest.mark.parametrize(("head", "reached"), [(0, {"ehr"}), (1, {"cxr"}), (2, {"ehr", "cxr"})])
def test_a_probe_trains_its_own_head_and_the_encoders_below_it(head, reached):
    strategy, batch = GBlend(SPEC), make_batch()
    (probe, _) = strategy.stages()
    strategy.head_weights.copy_(probe.replicas[head]["head_weights"])
    strategy.loss(strategy(batch), batch, TARGET).backward()
    assert {n for n, f in batch.features.items() if f.grad.any()} == reached
    heads = {"ehr": strategy.heads["ehr"], "cxr": strategy.heads["cxr"], "joint": strategy.joint.head}
    own = [*SPEC.names, "joint"][head]
    assert {n for n, h in heads.items() if h.weight.grad.any()} == {own}


def test_losses_of_a_head_count_the_rows_that_have_its_modality():
    strategy, batch = GBlend(SPEC), make_batch()
    losses = strategy.head_losses(strategy(batch), batch, TARGET)
    assert losses["ehr.rows"].tolist() == [1, 1, 1, 0]
    assert losses["joint.rows"].tolist() == [1, 1, 1, 1]
    means = [(losses[n] * losses[f"{n}.rows"]).sum() / losses[f"{n}.rows"].sum() for n in ("ehr", "cxr", "joint")]
    torch.testing.assert_close(strategy.loss(strategy(batch), batch, TARGET), torch.stack(means).mean())


def test_each_mode_has_its_stages():
    assert [s.name for s in GBlend(SPEC, "fixed", weights=[1, 1, 2]).stages()] == ["train"]
    estimate, train = GBlend(SPEC, estimate_epochs=7, holdout=0.2).stages()
    assert (estimate.epochs, estimate.holdout, len(estimate.replicas), estimate.keep) == (7, 0.2, 3, None)
    assert (train.epochs, train.holdout, train.finish) == (1.0, 0.0, None)
    online = GBlend(SPEC, "online", super_epochs=5).stages()
    assert len({s.name for s in online}) == 10
    assert [bool(s.replicas) for s in online] == [True, False] * 5
    assert math.isclose(sum(s.epochs for s in online if not s.replicas), 1)
    assert [s.resumes for s in online if not s.replicas] == [False, True, True, True, True]


def test_weights_come_from_each_probe_at_its_own_head():
    def losses(head, train, held):
        after = dict.fromkeys(("ehr", "cxr", "joint"), 99.0)
        return SplitLosses(
            dict.fromkeys(after, 1.0), {**after, head: train}, dict.fromkeys(after, 1.0), {**after, head: held}
        )

    probes = [losses("ehr", 0.5, 0.7), losses("cxr", 0.2, 0.8), losses("joint", 0.4, 1.3)]
    (probe, _) = GBlend(SPEC, shrink=0.0).stages()
    merits = [0.3 / 0.2**2, 0.2 / 0.6**2, 0.0]
    expected = torch.tensor([m / sum(merits) for m in merits])
    torch.testing.assert_close(probe.finish(probes)["head_weights"], expected)
    # a head that gained nothing on a small hold-out is trained all the same
    (drawn, _) = GBlend(SPEC).stages()
    torch.testing.assert_close(drawn.finish(probes)["head_weights"], 0.9 * expected + 0.1 / 3)


def test_how_far_weights_are_drawn_to_equal_ones_is_a_share():
    assert blend_weights([1, 1], [0.5, 0.5], [1, 1], [0.6, 2.0], shrink=1.0) == [0.5, 0.5]
    with pytest.raises(ValueError, match=r"shrink must be 0 to 1, found 1\.5"):
        GBlend(SPEC, shrink=1.5)


# both heads gain .3; what the first overfits happens to cancel on a small hold-out
CANCELLED = ([1, 1], [0.71, 0.6], [1, 1], [0.7, 0.7])


def test_the_floor_takes_the_larger_of_overfitting_and_its_standard_error():
    errors = [0.2, 0.05]
    plain, floored = blend_weights(*CANCELLED), blend_weights(*CANCELLED, errors=errors)
    assert plain[0] == pytest.approx((1 / 0.01**2) / (1 / 0.01**2 + 1 / 0.1**2))
    assert floored[0] == pytest.approx((1 / 0.2**2) / (1 / 0.2**2 + 1 / 0.1**2))
    assert blend_weights(*CANCELLED, errors=[0, 0]) == plain
    assert blend_weights(*CANCELLED, errors=[math.inf, 0.05]) == [0, 1]
    assert blend_weights(*CANCELLED, errors=[math.inf, math.inf]) == [0.5, 0.5]


def test_only_the_floored_option_uses_the_errors_and_both_report_the_ratio():
    def finish(**options):
        heads = ("ehr", "cxr", "joint")
        splits = [dict(zip(heads, [*split, split[1]], strict=True)) for split in CANCELLED]
        probe = SplitLosses(*splits, dict.fromkeys(heads, 0.03), dict.fromkeys(heads, 0.04))
        return GBlend(SPEC, shrink=0.0, **options).stages()[0].finish([probe] * 3)

    measured, floored = finish(), finish(overfitting="floored")
    torch.testing.assert_close(measured["overfitting_ratio"], torch.tensor([0.2, 2.0, 2.0]))
    torch.testing.assert_close(floored["overfitting_ratio"], measured["overfitting_ratio"])
    merits = torch.tensor([0.3 / 0.05**2, 0.3 / 0.1**2, 0.3 / 0.1**2])
    torch.testing.assert_close(floored["head_weights"], merits / merits.sum())
    assert measured["head_weights"][0] > 0.97


def test_the_floor_more_than_halves_how_often_chance_gives_one_of_two_equal_heads_nearly_everything():
    # in truth both gain .3 and overfit .1; a small hold-out shows each with an error of .1
    noise = np.random.default_rng(0).normal(scale=0.1, size=(1000, 2))

    def lopsided(errors):
        found = [blend_weights([1, 1], [0.6, 0.6], [1, 1], list(0.7 + n), errors=errors) for n in noise]
        return np.mean([max(weights) > 0.9 for weights in found])

    assert lopsided(None) > 0.4
    assert lopsided([0.1, 0.1]) < lopsided(None) / 2


@pytest.mark.parametrize("after", [1.0, 2.0])
def test_weights_are_equal_where_no_head_gained_anything(after):
    assert blend_weights([1, 1], [0.5, 0.5], [1, 1], [after, after]) == [0.5, 0.5]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_probe_that_diverged_gained_nothing(bad):
    for policy in ("clip", "abs"):
        assert blend_weights([1, 1], [bad, 0.5], [1, 1], [bad, 0.7], negative_gain=policy) == [0, 1]


def test_a_head_that_got_worse_is_rewarded_only_by_the_third_party_rule():
    arguments = ([1, 1], [0.5, 0.5], [1, 1], [1.2, 0.7])
    assert blend_weights(*arguments)[0] == 0
    assert blend_weights(*arguments, negative_gain="abs")[0] > 0


def test_the_average_runs_over_usable_heads_and_the_joint_one():
    strategy, batch = GBlend(SPEC, predict="average"), make_batch()
    output = strategy(batch)
    ehr, cxr, joint = (output.aux[k] for k in ("unimodal.ehr", "unimodal.cxr", "joint"))
    torch.testing.assert_close(output.logits[0], (ehr + cxr + joint)[0] / 3)
    torch.testing.assert_close(output.logits[1], (ehr + joint)[1] / 2)
    torch.testing.assert_close(GBlend(SPEC)(batch).logits.shape, output.logits.shape)


def test_options_are_checked():
    torch.testing.assert_close(GBlend(SPEC, "fixed", weights=[1, 1, 2]).head_weights, torch.tensor([0.25, 0.25, 0.5]))
    for weights in ([1, 1], [1, 1, -1], [0, 0, 0]):
        with pytest.raises(ValueError, match="weights must be 3 numbers"):
            GBlend(SPEC, "fixed", weights=weights)
    with pytest.raises(ValueError, match="weights belong to mode='fixed'"):
        GBlend(SPEC, "fixed")
    with pytest.raises(ValueError, match="weights belong to mode='fixed'"):
        GBlend(SPEC, weights=[1, 1, 1])
    with pytest.raises(ValueError, match="mode must be 'offline', 'online' or 'fixed'"):
        GBlend(SPEC, "on")
    with pytest.raises(ValueError, match="overfitting must be 'measured' or 'floored'"):
        GBlend(SPEC, overfitting="none")
    with pytest.raises(ValueError, match="super_epochs >= 1"):
        GBlend(SPEC, "online", super_epochs=0)
