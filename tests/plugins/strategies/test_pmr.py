"""PMR beyond the parity files: every target kind, missing rows, and the cases where the official code gives NaN."""

from __future__ import annotations

import pytest
import torch

from fusionbench import Batch, FusionOutput, FusionSpec, TargetKind, TrainingClock
from fusionbench_plugins.strategies.pmr import Pmr

NAMES = ("ehr", "cxr")
ROWS = 10
OUTPUTS = {TargetKind.BINARY: 1, TargetKind.MULTICLASS: 3, TargetKind.MULTILABEL: 4}


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def case(kind: TargetKind) -> tuple[FusionSpec, Batch, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    features = {n: torch.randn(ROWS, 3, generator=generator, requires_grad=True) for n in NAMES}
    present = {"ehr": torch.arange(ROWS) % 3 != 0, "cxr": torch.arange(ROWS) % 2 == 0}
    # every state has rows that show each modality
    target = torch.arange(ROWS) // 2 % max(2, OUTPUTS[kind])
    if kind is TargetKind.MULTILABEL:
        target = torch.stack([target + label for label in range(4)], dim=1) % 2
    return FusionSpec(dict.fromkeys(NAMES, 3), OUTPUTS[kind], kind), Batch(features, present), target


def after_an_epoch(strategy: Pmr, batch: Batch, target: torch.Tensor, clock: TrainingClock) -> Pmr:
    nothing = FusionOutput(torch.zeros(len(target), 1))
    with torch.no_grad():
        sums = strategy.statistics(nothing, batch, target, lambda view: nothing)
        for name, value in strategy.update(sums, clock).items():
            getattr(strategy, name).copy_(value)
    return strategy


@pytest.mark.parametrize("kind", TargetKind)
def test_prototypes_are_the_means_of_the_rows_in_each_state(kind):
    spec, batch, target = case(kind)
    strategy = after_an_epoch(Pmr(spec), batch, target, TrainingClock(0, 9))
    columns = target if kind is TargetKind.MULTILABEL else target.unsqueeze(-1)
    for name in NAMES:
        prototypes = getattr(strategy, f"prototypes_{name}")
        assert prototypes.shape == (columns.shape[1], 3 if kind is TargetKind.MULTICLASS else 2, 3)
        for label in range(columns.shape[1]):
            for state in range(prototypes.shape[1]):
                rows = batch.present[name] & (columns[:, label] == state)
                assert getattr(strategy, f"known_{name}")[label, state] == rows.any()
                if rows.any():
                    torch.testing.assert_close(prototypes[label, state], batch.features[name][rows].mean(dim=0))


@pytest.mark.parametrize("kind", TargetKind)
def test_terms_equal_the_definition_over_the_rows_that_show_the_modality(kind):
    spec, batch, target = case(kind)
    strategy = after_an_epoch(Pmr(spec), batch, target, TrainingClock(0, 9))
    columns = target if kind is TargetKind.MULTILABEL else target.unsqueeze(-1)
    for name in NAMES:
        prototypes, losses, entropies, scores = getattr(strategy, f"prototypes_{name}"), [], [], []
        for row in batch.present[name].nonzero().flatten().tolist():
            for label in range(columns.shape[1]):
                p = (-(batch.features[name][row] - prototypes[label]).norm(dim=-1)).softmax(0)
                losses.append(-p[columns[row, label]].log())
                entropies.append(-(p * p.log()).sum())
                scores.append(p[columns[row, label]])
        pce, entropy, score, counted = strategy.prototype_terms(name, batch, target)
        torch.testing.assert_close(pce, torch.stack(losses).mean())
        torch.testing.assert_close(entropy, torch.stack(entropies).mean())
        torch.testing.assert_close(score, torch.stack(scores).mean())
        assert counted
        assert not score.requires_grad


def test_a_class_of_one_row_lies_on_its_prototype_and_gradients_stay_finite():
    spec, batch, _ = case(TargetKind.MULTICLASS)
    target = torch.tensor([1, 2, *[0] * (ROWS - 2)])
    strategy = after_an_epoch(Pmr(spec), batch, target, TrainingClock(0, 9))
    strategy.loss(strategy(batch), batch, target).backward()
    assert all(torch.isfinite(f.grad).all() for f in batch.features.values())


def test_a_class_without_rows_is_out_of_reach_and_keeps_its_prototype():
    spec, batch, _ = case(TargetKind.MULTICLASS)
    two_classes = torch.arange(ROWS) % 2
    strategy = after_an_epoch(Pmr(spec), batch, two_classes, TrainingClock(0, 9))
    p = strategy.log_probabilities("ehr", batch.observed("ehr")).exp()
    assert not p[:, 2].any()
    strategy.prototypes_ehr[0, 2] = 7.0
    strategy.known_ehr[0, 2] = True
    after_an_epoch(strategy, batch, two_classes, TrainingClock(3, 9))
    assert (strategy.prototypes_ehr[0, 2] == 7).all()


def test_a_modality_that_the_batch_lacks_has_no_weight_and_leaves_the_other_alone():
    spec, batch, target = case(TargetKind.BINARY)
    strategy = after_an_epoch(Pmr(spec), batch, target, TrainingClock(0, 9))
    beta, gamma = strategy.coefficients(torch.tensor([0.7, 0.0]), torch.tensor([True, False]))
    assert beta.tolist() == gamma.tolist() == [0, 0]
    alone = batch.only("ehr")
    task = strategy.loss(strategy(alone), alone, target)
    torch.testing.assert_close(task, super(Pmr, strategy).loss(strategy(alone), alone, target))


def test_two_modalities_reduce_to_the_formula_of_the_paper():
    strategy = Pmr(FusionSpec(dict.fromkeys(NAMES, 3), 2, TargetKind.MULTICLASS))
    rho = 0.8 / 0.5
    beta, gamma = strategy.coefficients(torch.tensor([0.8, 0.5]), torch.tensor([True, True]))
    torch.testing.assert_close(beta, torch.tensor([0.0, min(rho - 1, 1)]))
    torch.testing.assert_close(gamma, torch.tensor([min(rho - 1, 1), 0.0]))


def test_terms_end_with_their_share_of_the_epochs():
    spec, batch, target = case(TargetKind.BINARY)
    flags = []
    strategy = Pmr(spec)
    for completed in range(30):
        after_an_epoch(strategy, batch, target, TrainingClock(completed, 30))
        flags.append((strategy.accelerating.item(), strategy.exploring.item()))
    assert sum(a for a, _ in flags) == 21  # epochs 0 to 20
    assert sum(e for _, e in flags) == 4  # epochs 0 to 3
    task = super(Pmr, strategy).loss(strategy(batch), batch, target)
    torch.testing.assert_close(strategy.loss(strategy(batch), batch, target), task)


def test_the_official_variant_is_hard_and_has_no_entropy_term():
    spec, batch, target = case(TargetKind.BINARY)
    official = after_an_epoch(Pmr(spec, variant="official"), batch, target, TrainingClock(0, 9))
    strong, weak = official.mu.clone(), official.mu + 100
    values = []
    for mu in (strong, weak):
        official.mu.copy_(mu)
        values.append(official.loss(official(batch), batch, target).item())
    assert values[0] == values[1]
    assert official.hard
    assert not Pmr(spec, variant="official", coefficients="paper").hard


def test_distances_can_be_scaled_and_options_are_checked():
    spec, batch, target = case(TargetKind.BINARY)
    plain = after_an_epoch(Pmr(spec), batch, target, TrainingClock(0, 9))
    scaled = after_an_epoch(Pmr(spec, distance="euclidean_over_sqrt_d"), batch, target, TrainingClock(0, 9))
    embeddings = batch.observed("ehr").detach()
    torch.testing.assert_close(scaled.distances("ehr", embeddings) * 3**0.5, plain.distances("ehr", embeddings))
    with pytest.raises(ValueError, match="coefficients must be 'paper', 'hard' or null"):
        Pmr(spec, coefficients="soft")
