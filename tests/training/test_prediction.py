"""Predictions of a population: under many conditions at once as under each alone, in bounded parts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fusionbench import Batch, FusionOutput, FusionSpec
from fusionbench.targets import TargetKind, prevalence_logits
from fusionbench.training import prediction
from fusionbench.training.prediction import as_probabilities, assemble, bounded, predict_conditions
from tests.builders import DIMS, make_member, make_model, make_rows, plugin


def members(table, count=2, strategy="concat"):
    return [make_member(lambda i=i: make_model(strategy, "zero", i), table, train=60 - 7 * i) for i in range(count)]


def asked(table, models=2, rows=25, conditions=3):
    draw = torch.Generator().manual_seed(0)
    chosen = torch.randint(0, 130, (models, rows), generator=draw)
    hidden = torch.rand(conditions, models, rows, len(DIMS), generator=draw) < 0.4
    return chosen, table.available[chosen] & ~hidden


def test_members_become_one_population_with_their_own_parameters_and_scalings():
    table = make_rows()
    population = assemble(members(table, 3))
    assert population.size == 3
    for i in range(3):
        own = make_model("concat", "zero", i)
        with torch.no_grad():
            own.fusion.start_at(prevalence_logits(table.target[: 60 - 7 * i], table.kind, 1))
        own = own.state_dict()
        assert all(torch.equal(population.parameters[n][i], t) for n, t in own.items() if n in population.parameters)
    chosen = torch.arange(5).expand(3, -1)
    seen = population.view(chosen, table.available[chosen]).encoded["a"]
    for i, rows in enumerate((60, 53, 46)):
        has = torch.arange(rows)[table.available[:rows, 0]]
        values = table.values["a"]
        wanted = (values[:5] - values[has].mean(dim=0)) / values[has].std(dim=0)
        torch.testing.assert_close(seen[i], wanted, rtol=1e-5, atol=1e-5)


def test_each_member_begins_at_the_prevalence_of_its_own_training_rows():
    rare = torch.arange(130) % 10 == 0
    table = replace(make_rows(), target=rare.long())
    rows = [torch.arange(60), torch.arange(60)[~rare[:60]], torch.arange(0, 130, 10)]  # one in ten, none, all
    given = [make_member(lambda: make_model("concat"), table, validation=30) for _ in rows]
    population = assemble([replace(m, train=r) for m, r in zip(given, rows, strict=True)])
    wanted = [(rare[r].sum() + 1) / (len(r) + 2) for r in rows]  # finite, also where a label never or always occurs
    found = torch.sigmoid(population.parameters["fusion.head.bias"][:, 0])
    torch.testing.assert_close(found, torch.stack(wanted).float(), rtol=1e-5, atol=0)


def test_every_condition_is_predicted_as_if_it_were_alone():
    table = make_rows()
    population, (rows, present) = assemble(members(table)), asked(table)
    found = predict_conditions(population, rows, present)
    assert found.shape == (3, 2, 25, 1)
    assert found.dtype == torch.float32
    for k, shown in enumerate(present):
        with population.evaluating():
            logits = population.predict(population.view(rows, shown))
        torch.testing.assert_close(found[k], logits, rtol=1e-5, atol=1e-6)


def test_rows_are_encoded_once_for_all_conditions(monkeypatch):
    table = make_rows()
    population, (rows, present) = assemble(members(table)), asked(table)
    views, view = [], population.view
    monkeypatch.setattr(population, "view", lambda *a: views.append(a) or view(*a))
    predict_conditions(population, rows, present)
    assert len(views) == 1


@pytest.mark.parametrize("most", [1, 7, 25])
def test_the_size_of_a_part_changes_no_number(most, monkeypatch):
    table = make_rows()
    population, (rows, present) = assemble(members(table)), asked(table)
    whole = predict_conditions(population, rows, present)
    monkeypatch.setattr(prediction, "EVALUATION_ROWS", most)
    torch.testing.assert_close(predict_conditions(population, rows, present), whole, rtol=0, atol=1e-6)


def test_what_is_hidden_has_no_part_in_a_prediction():
    table, spoilt = make_rows(), make_rows()
    rows, present = asked(table)
    spoilt.values["b"].add_(1000)
    present[..., 1] = False
    found, wanted = (predict_conditions(assemble(members(t)), rows, present) for t in (spoilt, table))
    assert torch.equal(found, wanted)


def test_parts_are_cut_alike_and_put_together_give_the_whole(monkeypatch):
    monkeypatch.setattr(prediction, "EVALUATION_ROWS", 10)
    rows = torch.arange(2 * 25).reshape(2, 25)
    present = rows[None, ..., None].expand(3, 2, 25, 4)
    parts = list(bounded(rows, present, rows + 1))
    assert [[tuple(t.shape) for t in part] for part in parts] == [[(2, n), (3, 2, n, 4), (2, n)] for n in (10, 10, 5)]
    assert torch.equal(torch.cat([p[0] for p in parts], dim=1), rows)
    assert torch.equal(torch.cat([p[2] for p in parts], dim=1), rows + 1)
    assert all((p[1] == p[0][None, ..., None]).all() for p in parts)


@pytest.mark.parametrize("kind", list(TargetKind))
def test_probabilities_of_logits_are_made_in_double_precision(kind):
    logits = torch.linspace(-40, 40, 12).reshape(4, 3)
    found = as_probabilities(logits, kind)
    assert found.dtype == torch.float64
    wanted = torch.softmax(logits.double(), dim=-1) if kind is TargetKind.MULTICLASS else torch.sigmoid(logits.double())
    assert torch.equal(found, wanted)
    assert (found.diff(dim=0) > 0).all() or kind is TargetKind.MULTICLASS  # single floats would tie at 1


def test_the_mode_of_training_is_back_afterwards():
    table = make_rows()
    population, (rows, present) = assemble(members(table)), asked(table)
    assert not predict_conditions(population, rows, present).requires_grad
    assert population.template.training


EXACT = [
    ("concat", {}),
    ("daft", {}),
    ("g_blend", {}),
    ("g_blend", {"predict": "average"}),
    ("late_average", {"average": "probability"}),
    ("late_average", {"average": "logit"}),
    ("lmf", {}),
    ("mmtm", {}),
    ("ogm_ge", {}),
    ("ogm_ge", {"fusion": "sum"}),
    ("pmr", {"fusion": "sum"}),
    ("se_gate", {}),
    ("sum", {}),
    ("sum", {"variant": "logit"}),
    ("unimodal", {"modality": "b"}),
]


@pytest.mark.parametrize("kind", list(TargetKind))
@pytest.mark.parametrize(
    ("strategy", "options"), EXACT, ids=lambda v: v if isinstance(v, str) else "-".join(v.values())
)
def test_of_embeddings_that_say_nothing_an_untrained_strategy_says_the_prevalence(strategy, options, kind):
    outputs = 1 if kind is TargetKind.BINARY else 3
    spec = FusionSpec(dict.fromkeys(DIMS, 4), outputs, kind)
    shares = torch.tensor([0.1, 0.3, 0.6], dtype=torch.float64)[:outputs]
    built = plugin("strategies", strategy)(spec, **options).double().eval()
    everybody = dict.fromkeys(DIMS, torch.ones(2, dtype=torch.bool))
    batch = Batch(dict.fromkeys(DIMS, torch.zeros(2, 4, dtype=torch.float64)), everybody)
    with torch.no_grad():
        built.start_at(shares.log() if kind is TargetKind.MULTICLASS else shares.logit())
        output = built(batch)
    logits = output.logits if isinstance(output, FusionOutput) else output
    torch.testing.assert_close(as_probabilities(logits, kind), shares.expand(2, -1), rtol=1e-9, atol=0)


@pytest.mark.parametrize("strategy", ["attention", "dwfuse", "medfuse"])
def test_others_begin_with_the_prevalence_in_the_biases_of_their_heads(strategy):
    model, logits = make_model(strategy), torch.tensor([-1.5])
    with torch.no_grad():
        model.fusion.start_at(logits)
    last = {n: p for n, p in model.fusion.named_parameters() if n.endswith("bias") and p.shape == (1,)}
    assert len(last) == {"attention": 1, "dwfuse": 4, "medfuse": 4}[strategy]
    assert all(torch.equal(p, logits) for p in last.values())


def test_evidence_begins_without_an_opinion():
    model = make_model("tmc")
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    with torch.no_grad():
        model.fusion.start_at(torch.tensor([-1.5]))
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())
