"""ActionMAE takes the published exam, and its loss is what the formula says."""

from dataclasses import replace

import pytest
import torch
from fusionbench_actionmae import PREDICTED, ActionMae

from fusionbench import TargetKind
from fusionbench.testing import make_case, parametrize_with_checks

CASES = [make_case(m, kind, "random") for m, kind in zip((1, 2, 3), TargetKind, strict=True)]
CASE = make_case(3, TargetKind.BINARY, "random")


@parametrize_with_checks([ActionMae, (ActionMae, {"memory": 1, "heads": 2})], cases=CASES)
def test_actionmae_conforms(subject, check):
    check(subject)


def imputer(**options):
    torch.manual_seed(0)
    return ActionMae(CASE.spec, **options).double()


def test_the_loss_is_the_error_on_standardised_tokens_that_were_hidden_on_purpose():
    part = imputer(weight=2.0)
    completed, errors = part(CASE.batch), []
    for name in CASE.spec.names:
        for row in range(12):
            if CASE.batch.available[name][row] and not CASE.batch.present[name][row]:
                truth = CASE.batch.features[name][row]
                target = (truth - truth.mean()) / (truth.var(correction=0) + 1e-6).sqrt()
                errors.append((completed.extras[f"{PREDICTED}{name}"][row] - target).square().mean().item())
    assert errors
    wanted = 0.75 + 2 * sum(errors) / len(errors)
    assert part.loss(completed, torch.tensor(0.75)).item() == pytest.approx(wanted)


def test_where_nothing_is_hidden_only_the_task_loss_is_left():
    part = imputer()
    completed = part(replace(CASE.batch, present=CASE.batch.available))
    assert part.loss(completed, torch.tensor(0.75, dtype=torch.float64)).item() == 0.75


def test_absent_embeddings_are_predictions_and_present_ones_stay():
    completed = imputer()(CASE.batch)
    for name in CASE.spec.names:
        shown = CASE.batch.present[name]
        assert torch.equal(completed.features[name][shown], CASE.batch.features[name][shown])
        assert torch.equal(completed.features[name][~shown], completed.extras[f"{PREDICTED}{name}"][~shown])
        assert torch.equal(completed.imputed[name], ~shown)


@pytest.mark.parametrize(("options", "message"), [({"heads": 3}, "heads must divide"), ({"memory": 0}, "memory must")])
def test_options_that_mean_nothing_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        imputer(**options)
