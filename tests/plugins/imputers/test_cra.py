"""Imagined embeddings: what is filled, what is learnt from, and what the options say. Numbers: test_parity_imputation."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fusionbench import Batch, FusionSpec, TargetKind
from fusionbench_plugins.imputers.cra import Cascade, CascadeShape, Cra, CraCycle

SPEC = FusionSpec({"ehr": 3, "cxr": 2}, num_outputs=1, kind=TargetKind.BINARY)


@pytest.fixture
def batch():
    """Row 0 has all, row 1 has both and is shown one, row 2 has one."""
    torch.manual_seed(0)
    return Batch(
        features={n: torch.randn(3, d) for n, d in SPEC.dims.items()},
        present={"ehr": torch.tensor([True, True, True]), "cxr": torch.tensor([True, False, False])},
        available={"ehr": torch.tensor([True, True, True]), "cxr": torch.tensor([True, True, False])},
        zero_input={n: torch.full((d,), 0.5) for n, d in SPEC.dims.items()},
    )


def test_a_cascade_whose_decoders_say_nothing_returns_what_it_was_given():
    cascade = Cascade(CascadeShape(5, (4, 2), 3))
    for parameter in cascade.decoders.parameters():
        torch.nn.init.zeros_(parameter)
    vector = torch.randn(7, 5)
    returned, codes = cascade(vector)
    assert torch.equal(returned, vector)
    assert codes.shape == (7, 3 * 2)


def test_the_cascade_does_not_see_what_is_hidden_but_the_embedding_of_a_zero_input(batch):
    shown = Cra(SPEC)(batch).extras["cra.shown"]
    assert torch.equal(shown[0], torch.cat([batch.features["ehr"][0], batch.features["cxr"][0]]))
    assert torch.equal(shown[1:, 3:], torch.full((2, 2), 0.5))


def test_hidden_slots_alone_are_what_must_be_imagined(batch):
    imputer = Cra(SPEC)
    completed = imputer(batch)
    wanted = (completed.features["cxr"][1] - batch.features["cxr"][1]).square().mean()
    assert imputer.forward_loss(completed).item() == pytest.approx(wanted.item())
    assert imputer.loss(completed, torch.tensor(2.0)).item() == pytest.approx(wanted.item() + 20)


def test_a_sum_is_taken_for_each_row_that_has_a_target(batch):
    torch.manual_seed(1)
    mean = Cra(SPEC)
    total = Cra(SPEC, reduction="sum")
    total.load_state_dict(mean.state_dict())
    assert total.forward_loss(total(batch)).item() == pytest.approx(
        2 * mean.forward_loss(mean(batch)).item()
    )  # of width 2


def test_the_code_of_the_sample_is_as_wide_as_declared(batch):
    for options, width in (({}, 5 * 1), ({"blocks": 2, "layers": (4, 3)}, 2 * 3)):
        imputer = Cra(SPEC, **options)
        assert imputer.latent_dim == width
        assert imputer(batch).latents.shape == (3, width)


def test_the_way_back_trains_and_does_not_predict(batch):
    imputer = CraCycle(SPEC)
    completed = imputer(batch)
    task = sum(completed.completed(n).sum() for n in SPEC.names)
    task.backward()
    assert all(p.grad is None for p in imputer.back.parameters())
    imputer.loss(imputer(batch), torch.tensor(0.0)).backward()
    assert any(p.grad.any() for p in imputer.back.parameters())


def test_without_its_weight_the_way_back_adds_nothing(batch):
    imputer = CraCycle(SPEC, lambda_1=0.0)
    completed, task = imputer(batch), torch.tensor(1.0)
    assert imputer.backward_loss(completed) > 0
    assert torch.equal(imputer.loss(completed, task), Cra.loss(imputer, completed, task))


def test_the_network_of_the_way_back_is_not_shown_what_it_must_return(batch):
    imputer = CraCycle(SPEC)
    seen = []
    imputer.back.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    imputer.backward_loss(imputer(batch))
    assert torch.equal(seen[0][1, :3], torch.full((3,), 0.5))
    changed = replace(batch, features={**batch.features, "ehr": batch.features["ehr"] + 1})
    assert not torch.equal(imputer(changed).extras["cra.shown"][1, :3], seen[0][1, :3])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"targets": "all"}, "targets must be 'missing_only' or 'full_vector', found 'all'"),
        ({"reduction": "max"}, "reduction must be 'mean' or 'sum', found 'max'"),
        ({"blocks": 0}, "blocks and layers must be positive, found blocks=0"),
        ({"layers": (4, 0)}, r"found blocks=5, layers=\[4, 0\]"),
        ({"layers": ()}, r"found blocks=5, layers=\[\]"),
    ],
)
def test_options_that_make_no_cascade_are_refused(options, said):
    for imputer in (Cra, CraCycle):
        with pytest.raises(ValueError, match=said):
            imputer(SPEC, **options)
