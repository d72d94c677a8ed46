"""Fusion strategies against numbers computed elsewhere: official code, or plain arrays (METHODS, parity/README)."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from fusionbench import Batch, FusionSpec, TargetKind
from fusionbench_plugins.strategies.daft import AffineTransform
from fusionbench_plugins.strategies.lmf import LMF
from fusionbench_plugins.strategies.medfuse import MaskedLSTM, MedFuse
from fusionbench_plugins.strategies.mmtm import MMTM, TransferModule
from fusionbench_plugins.strategies.se_gate import SEGate
from fusionbench_plugins.strategies.tmc import TMC, combine, divergence_from_uniform, evidential_loss
from tests.parity import close, parity


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def batch_of(values, available=None):
    names = [f"m{i}" for i in range(len(values))]
    shown = torch.ones(len(values[0]), len(names)) if available is None else torch.tensor(available)
    return Batch(
        {n: tensor(v) for n, v in zip(names, values, strict=True)}, dict(zip(names, shown.bool().T, strict=True))
    )


def spec_of(batch, outputs=1, kind=TargetKind.BINARY):
    return FusionSpec({n: f.shape[1] for n, f in batch.features.items()}, outputs, kind)


def fill(module, parameters):
    """Set parameters by name, leaving the rest as it is."""
    state = module.double().state_dict()
    for name, value in parameters.items():
        assert state[name].shape == torch.Size(tensor(value).shape), name
        state[name] = tensor(value)
    module.load_state_dict(state)
    return module


# --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shown", ["complete", "missing"])
@pytest.mark.parametrize("granularity", ["channel", "modality"])
@pytest.mark.parametrize("file", ["se_gate_m2", "se_gate_m3"])
def test_se_gate_matches_the_closed_form(file, granularity, shown):
    oracle = parity(file)
    batch = batch_of(oracle["inputs"]["v"], oracle["inputs"]["available"] if shown == "missing" else None)
    p = oracle[f"params_{granularity}"]
    layers = {"0.weight": p["W1"], "0.bias": p["b1"], "2.weight": p["W2"], "2.bias": p["b2"]}
    strategy = fill(
        SEGate(spec_of(batch), granularity, oracle["ratio"]), {f"excitation.{k}": v for k, v in layers.items()}
    )
    close(strategy.gated(batch), oracle["outputs"][shown][granularity]["fused"])
    blocks = [batch.completed(name) for name in batch.names]
    if granularity == "channel":
        close(strategy.excitation(torch.cat(blocks, dim=-1)), oracle["outputs"][shown]["channel"]["gate"])
    else:
        gates = strategy.excitation(torch.stack([block.mean(dim=-1) for block in blocks], dim=-1))
        close(gates * batch.usable_mask(), oracle["outputs"][shown]["modality"]["gate"])
    assert_close(strategy(batch), strategy.head(tensor(oracle["outputs"][shown][granularity]["fused"])))


@pytest.mark.parametrize("case", [0, 1], ids=["map_vs_vector", "vectors"])
def test_mmtm_matches_the_official_module_and_its_gradients(case):
    oracle = parity("mmtm_m2")["cases"][case]
    inputs = {name: tensor(value).requires_grad_() for name, value in oracle["inputs"].items()}
    p = oracle["params"]
    module = TransferModule({name: value.shape[1] for name, value in inputs.items()}, oracle["ratio"])
    fill(
        module,
        {
            "squeeze.weight": p["squeeze_weight"],
            "squeeze.bias": p["squeeze_bias"],
            "excite.m0.weight": p["excite0_weight"],
            "excite.m0.bias": p["excite0_bias"],
            "excite.m1.weight": p["excite1_weight"],
            "excite.m1.bias": p["excite1_bias"],
        },
    )
    outputs = module(inputs)
    objective = sum((outputs[name] * tensor(oracle["cotangent"][name])).sum() for name in inputs)
    gradients = dict(zip(inputs, torch.autograd.grad(objective, list(inputs.values())), strict=True))
    for name in inputs:
        close(outputs[name], oracle["outputs"][name])
        close(gradients[name], oracle["input_grad"][name])


def test_mmtm_strategy_classifies_the_gated_vectors():
    oracle = parity("mmtm_m2")["cases"][1]
    batch = batch_of(list(oracle["inputs"].values()))
    strategy = MMTM(spec_of(batch), oracle["ratio"]).double()
    gated = strategy.transfer(batch.features)
    assert_close(strategy(batch), strategy.head(torch.cat([gated["m0"], gated["m1"]], dim=1)))


@pytest.mark.parametrize("case", [0, 1, 2], ids=["linear", "sigmoid", "tanh"])
def test_daft_matches_the_official_rescaling(case):
    oracle = parity("daft_film")
    case, bottleneck = oracle["cases"][case], oracle["bottleneck"]
    features, auxiliary = tensor(case["inputs"]["feature_map"]), tensor(case["inputs"]["aux"])
    activation = "none" if case["activation"] == "linear" else case["activation"]
    module = AffineTransform(features.shape[1], auxiliary.shape[1], bottleneck, activation)
    fill(module, {"squeeze.weight": case["params"]["W1"], "excite.weight": case["params"]["W2"]})
    close(module(features, auxiliary), case["output"])


# --------------------------------------------------------------------------------------------


def lstm_parameters(p, prefix):
    return {
        f"{prefix}from_token.weight": p["weight_ih_l0"],
        f"{prefix}from_token.bias": p["bias_ih_l0"],
        f"{prefix}from_state.weight": p["weight_hh_l0"],
        f"{prefix}from_state.bias": p["bias_hh_l0"],
    }


def test_masked_lstm_matches_the_closed_form_over_three_tokens():
    oracle = parity("lstm_fusion_m3")
    batch = batch_of(oracle["inputs"]["tokens"], oracle["inputs"]["available"])
    width, hidden = len(oracle["params"]["weight_ih_l0"][0]), len(oracle["params"]["weight_hh_l0"][0])
    lstm = fill(MaskedLSTM(width, hidden), lstm_parameters(oracle["params"], ""))
    h, c = lstm(list(batch.features.values()), list(batch.present.values()))
    close(h, oracle["outputs"]["last_hidden"])
    close(c, oracle["outputs"]["last_cell"])


@pytest.mark.parametrize("case", [0, 1])
def test_medfuse_matches_the_official_forward_loss_and_gradients(case):
    oracle = parity("medfuse_lstm_m2")["cases"][case]
    p, outputs = oracle["params"], oracle["num_outputs"]
    lstm = {key.removeprefix("lstm."): value for key, value in p.items() if key.startswith("lstm.")}
    v0, v1 = (tensor(oracle["inputs"][name]).requires_grad_() for name in ("v0", "v1"))
    projection = fill(
        torch.nn.Linear(v1.shape[1], v0.shape[1]), {"weight": p["projection.weight"], "bias": p["projection.bias"]}
    )
    y = torch.tensor(oracle["inputs"]["y"]).long()
    kind = TargetKind.BINARY if outputs == 1 else TargetKind.MULTILABEL
    spec = FusionSpec({"m0": v0.shape[1], "m1": v0.shape[1]}, outputs, kind)
    parameters = lstm_parameters(lstm, "lstm.") | {"head.weight": p["head.weight"], "head.bias": p["head.bias"]}
    strategy = fill(MedFuse(spec, hidden=len(p["head.weight"][0])), parameters)

    shown = torch.tensor(oracle["inputs"]["second_present"]).bool()
    batch = Batch({"m0": v0, "m1": projection(v1)}, {"m0": torch.ones_like(shown), "m1": shown})
    output = strategy(batch)
    loss = strategy.loss(output, batch, y.squeeze(1) if outputs == 1 else y)
    loss.backward()

    close(
        strategy.lstm(list(batch.features.values()), list(batch.present.values()))[0], oracle["outputs"]["last_hidden"]
    )
    close(output.logits, oracle["outputs"]["logits"])
    close(torch.sigmoid(output.logits), oracle["outputs"]["probs"])
    close(loss, oracle["outputs"]["bce_mean"])
    found = dict(strategy.named_parameters())
    lstm_gradients = {k.removeprefix("lstm."): v for k, v in oracle["grad"].items() if k.startswith("lstm.")}
    wanted = lstm_parameters(lstm_gradients, "lstm.")
    for name in ("head.weight", "head.bias"):
        wanted[name] = oracle["grad"][name]
    for name, value in wanted.items():
        close(found[name].grad, value)
    close(v0.grad, oracle["grad"]["v0"])
    close(v1.grad, oracle["grad"]["v1"])
    close(projection.weight.grad, oracle["grad"]["projection.weight"])
    close(projection.bias.grad, oracle["grad"]["projection.bias"])


# --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["lmf_m2", "lmf_m3"])
def test_lmf_matches_the_low_rank_fusion_step(file):
    oracle = parity(file)
    batch = batch_of(oracle["inputs"])
    spec = spec_of(batch, len(oracle["output"][0]), TargetKind.MULTILABEL)
    parameters = {f"factors.m{i}": factor for i, factor in enumerate(oracle["params"]["factors"])}
    parameters["rank_weights"] = oracle["params"]["fusion_weights"][0]
    parameters["bias"] = oracle["params"]["fusion_bias"][0]
    close(fill(LMF(spec, oracle["rank"]), parameters)(batch), oracle["output"])


@pytest.mark.parametrize("file", ["tmc_v2", "tmc_v3"])
def test_tmc_matches_the_official_combination_and_divergence(file):
    oracle = parity(file)
    combined = combine(tensor(oracle["inputs"]["evidence"]))
    close(combined + 1, oracle["alpha_combined"])
    classes = combined.shape[-1]
    close(classes / (combined + 1).sum(-1), oracle["uncertainty_combined"])
    close(divergence_from_uniform(combined + 1), oracle["kl_combined_to_uniform"])


@pytest.mark.parametrize("epoch", ["1", "25", "80"])
@pytest.mark.parametrize("file", ["tmc_v2", "tmc_v3"])
def test_tmc_matches_the_official_loss_while_annealing(file, epoch):
    oracle = parity(file)
    evidence = tensor(oracle["inputs"]["evidence"])
    y = torch.nn.functional.one_hot(torch.tensor(oracle["inputs"]["y"]), evidence.shape[-1])
    spec = FusionSpec({"m0": 2}, evidence.shape[-1], TargetKind.MULTICLASS)
    from fusionbench import TrainingClock

    clock = TrainingClock(completed=int(epoch) - 1, planned=100)
    weight = TMC(spec, annealing=oracle["annealing_steps"]).double().update({}, clock)["kl_weight"]
    wanted = oracle["loss_at_step"][epoch]
    close(evidential_loss(evidence, y, weight), wanted["per_view"])
    close(evidential_loss(combine(evidence), y, weight), wanted["combined"])
