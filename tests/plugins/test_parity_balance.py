"""OGM-GE, PMR, G-Blend and DWFuse against the parity files, at the tolerance of ``tests/parity.py``.

``reference_third_party`` and ``third_party`` fields document other people's deviations; they are no target.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from fusionbench import Batch, FusionOutput, FusionSpec, TargetKind, TrainingClock
from fusionbench.contract.stages import SplitLosses
from fusionbench.targets import row_losses, state_log_probabilities
from fusionbench_plugins.strategies.dwfuse import DWFuse
from fusionbench_plugins.strategies.g_blend import GBlend, blend_weights
from fusionbench_plugins.strategies.ogm_ge import OgmGe
from fusionbench_plugins.strategies.pmr import Pmr
from tests.parity import close, double_precision, parity

NAMES = ("m0", "m1", "m2")
MULTICLASS = TargetKind.MULTICLASS


@pytest.fixture(autouse=True)
def _double_precision():
    with double_precision():
        yield


def leaves(params: dict) -> dict[str, Tensor]:
    return {n: torch.tensor(v).requires_grad_() for n, v in params.items()}


def complete(features: dict[str, Tensor]) -> Batch:
    present = {n: torch.ones(len(f), dtype=torch.bool) for n, f in features.items()}
    return Batch(features, present, available=present)


def head_state(fusion: str, params: dict[str, Tensor]) -> dict[str, Tensor]:
    """Where the parameters of the file's head belong in a strategy built on concat or sum."""
    if fusion == "concat":
        return {"fusion.head.weight": params["head.weight"], "fusion.head.bias": params["head.bias"]}
    return {f"fusion.heads.m{k}.{p}": params[f"head{k}.{p}"] for k in range(2) for p in ("weight", "bias")}


# ------------------------------------------------------------------------------------------------ OGM-GE


def ogm_step(case: dict, fusion: str, **options):
    params = leaves(case["params"])
    inputs, epoch = case["inputs"], case["epoch"]

    def encode(k: int) -> Tensor:
        prefix = f"encoder{k}."
        hidden = functional.linear(
            torch.tensor(inputs[f"x{k}"]), params[f"{prefix}conv.weight"].flatten(1), params[f"{prefix}conv.bias"]
        )
        return functional.linear(hidden.tanh(), params[f"{prefix}fc.weight"], params[f"{prefix}fc.bias"])

    spec = FusionSpec({"m0": 4, "m1": 4}, num_outputs=3, kind=MULTICLASS)
    start, end = case["modulation_starts"] / 100, case["modulation_ends"] / 100
    strategy = OgmGe(spec, alpha=case["alpha"], fusion=fusion, start=start, end=end, **options)
    strategy.modulating.copy_(strategy.update({}, TrainingClock(epoch, 100))["modulating"])
    batch, target = complete({"m0": encode(0), "m1": encode(1)}), torch.tensor(inputs["y"])
    output = torch.func.functional_call(strategy, head_state(fusion, params), (batch,))
    loss = strategy.loss(output, batch, target)
    gradients = dict(zip(params, torch.autograd.grad(loss, list(params.values())), strict=True))
    return strategy, batch, target, output, loss, gradients


def renamed(gradients: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        n.replace("encoder", "encoder.m") if n.startswith("encoder") else f"fusion.{n}": g for n, g in gradients.items()
    }


def ogm_cases():
    return [pytest.param(f, i, id=f"{f}-{i}") for f in ("concat", "sum") for i in range(4)]


@pytest.mark.parametrize(("fusion", "index"), ogm_cases())
def test_ogm_ge_equals_the_official_step(fusion, index):
    case = parity(f"ogm_ge_{fusion}_m2")["cases"][index]
    strategy, batch, target, output, loss, gradients = ogm_step(case, fusion, variant="official")
    close(output.logits.detach(), case["logits"]["joint"])
    close(loss.detach(), case["losses"]["joint"])
    for k, name in enumerate(batch.names):
        unimodal = output.aux[f"unimodal.{name}"]
        close(unimodal.detach(), case["logits"][f"m{k}"])
        close(row_losses(unimodal, target, MULTICLASS).mean().detach(), case["losses"][f"m{k}"])
    for name, expected in case["grad_plain"].items():
        close(gradients[name], expected)
    scores, counted = strategy._scores(output, batch, target)
    close(scores * len(target), list(case["score"].values()))
    close(strategy.coefficients(scores, counted), list(case["coeff"].values()))

    noise = {f"encoder.{n.removeprefix('encoder')}": v for n, v in case["ge"]["unit_noise"].items()}
    noise = {n.replace("encoder.", "encoder.m"): torch.tensor(v) for n, v in noise.items()}
    plain = renamed(gradients)
    without = strategy.modulate(plain, output, batch, target, {})
    enhanced = strategy.modulate(plain, output, batch, target, noise)
    for name, gradient in renamed({n: n for n in gradients}).items():
        unchanged = gradient not in case["grad_ogm"]
        close(without[name], case["grad_plain" if unchanged else "grad_ogm"][gradient])
        if case["modulated"]:
            close(enhanced[name], case["grad_plain"][gradient] if unchanged else case["ge"]["grad_ogm_ge"][gradient])


@pytest.mark.parametrize("rule", ["others_mean", "mean_of_ratios", "min"])
def test_ogm_coefficients_of_three_modalities(rule):
    data = parity("ogm_m3")
    params = leaves(data["params"])
    features = {
        f"m{k}": functional.linear(
            torch.tensor(data["inputs"]["x"][k]),
            params[f"encoder{k}.weight"],
            params[f"encoder{k}.bias"],
        ).tanh()
        for k in range(3)
    }
    strategy = OgmGe(FusionSpec(dict.fromkeys(NAMES, 4), 3, MULTICLASS), alpha=data["alpha"], rule=rule)
    batch, target = complete(features), torch.tensor(data["inputs"]["y"])
    output = torch.func.functional_call(strategy, head_state("concat", params), (batch,))
    scores, counted = strategy._scores(output, batch, target)
    close(output.logits.detach(), data["logits"]["joint"])
    close(torch.stack([output.aux[f"unimodal.{n}"] for n in NAMES]).detach(), data["logits"]["unimodal"])
    close(scores, data["mean_true_prob"])
    close(strategy.coefficients(scores, counted), data["spec"][rule]["coeff"])


# ------------------------------------------------------------------------------------------------ PMR


def pmr_official(fusion: str):
    data = parity(f"pmr_official_{fusion}_m2")
    strategy = Pmr(
        FusionSpec({"m0": 4, "m1": 4}, data["num_classes"], MULTICLASS),
        variant="official",
        alpha=data["alpha"],
        eps=data["momentum_on_old"],
        active_until=data["modulation_range_inclusive"][1] / 150,
        fusion=fusion,
    )
    params = leaves(data["params"])
    features = {
        f"m{k}": functional.linear(
            torch.tensor(data["inputs"][f"x{k}"]), params[f"encoder{k}.weight"], params[f"encoder{k}.bias"]
        ).tanh()
        for k in range(2)
    }
    return data, strategy, params, features, torch.tensor(data["inputs"]["y"])


def prototype_sums(strategy: Pmr, features: dict[str, Tensor], target: Tensor, size: int) -> dict[str, Tensor]:
    nothing = FusionOutput(torch.zeros(size, 1))
    parts = [
        strategy.statistics(
            nothing,
            complete({n: f[start : start + size].detach() for n, f in features.items()}),
            target[start : start + size],
            lambda view: nothing,
        )
        for start in range(0, len(target), size)
    ]
    return {key: sum(p[key] for p in parts) for key in parts[0]}


def set_buffers(strategy: nn.Module, values) -> None:
    for name, value in values.items():
        getattr(strategy, name).copy_(value)


@pytest.mark.parametrize("fusion", ["concat", "sum"])
def test_pmr_prototypes_equal_the_official_ones(fusion):
    data, strategy, _, features, target = pmr_official(fusion)
    sums = prototype_sums(strategy, features, target, data["batch_size"])
    for completed in (0, 1):  # the code averages with nothing until its second epoch is over
        set_buffers(strategy, strategy.update(sums, TrainingClock(completed, 150)))
        for name in ("m0", "m1"):
            close(getattr(strategy, f"prototypes_{name}")[0], data["prototypes_first"][name])
    for name in ("m0", "m1"):
        getattr(strategy, f"prototypes_{name}").copy_(torch.tensor(data["prototypes_old"][name])[None])
    set_buffers(strategy, strategy.update(sums, TrainingClock(2, 150)))
    for name in ("m0", "m1"):
        close(getattr(strategy, f"prototypes_{name}")[0], data["prototypes_after_ema"][name])


@pytest.mark.parametrize("fusion", ["concat", "sum"])
@pytest.mark.parametrize("index", [0, 1, 2])
def test_pmr_equals_the_official_step(fusion, index):
    data, strategy, params, features, target = pmr_official(fusion)
    step, size = data["steps"][index], data["batch_size"]
    sums = prototype_sums(strategy, features, target, size)
    set_buffers(strategy, strategy.update(sums, TrainingClock(0, 150)))
    set_buffers(strategy, {"accelerating": strategy.update(sums, TrainingClock(step["epoch"], 150))["accelerating"]})
    rows = slice(step["batch_index"] * size, (step["batch_index"] + 1) * size)
    batch, y = complete({n: f[rows] for n, f in features.items()}), target[rows]

    terms = {n: strategy.prototype_terms(n, batch, y) for n in batch.names}
    for name, (pce, _, score, _) in terms.items():
        close(strategy.distances(name, batch.observed(name))[:, 0].detach(), step["distances"][name])
        close(pce.detach(), step["pce"][name])
        close(score, step["mean_true_prob"][name])
    beta, _ = strategy.coefficients(*(torch.stack([t[i] for t in terms.values()]) for i in (2, 3)))
    close(strategy.accelerating * strategy.alpha * beta, list(step["official_coeff"].values()))

    state = head_state(fusion, params)
    output = torch.func.functional_call(strategy, state, (batch,))
    loss = strategy.loss(output, batch, y)
    close(row_losses(output.logits, y, MULTICLASS).mean().detach(), step["ce"])
    for name, expected in step["uni_ce"].items():
        close(row_losses(output.aux[f"unimodal.{name}"], y, MULTICLASS).mean().detach(), expected)
    close(loss.detach(), step["total_loss"])
    for (name, _), gradient in zip(
        params.items(), torch.autograd.grad(loss, list(params.values()), retain_graph=True), strict=True
    ):
        close(gradient, step["grad"][name])


@pytest.mark.parametrize("modalities", [2, 3])
@pytest.mark.parametrize("rows", ["complete", "missing"])
def test_pmr_paper_coefficients_and_terms(modalities, rows):
    data = parity(f"pmr_paper_m{modalities}")
    names, inputs, expected = NAMES[:modalities], data["inputs"], data["result"][rows]
    strategy = Pmr(FusionSpec(dict.fromkeys(names, 4), 3, MULTICLASS), alpha=data["alpha"], mu=data["mu"])
    hard = Pmr(strategy.spec, coefficients="hard")
    for k, name in enumerate(names):
        getattr(strategy, f"prototypes_{name}").copy_(torch.tensor(inputs["prototypes"][k])[None])
        getattr(strategy, f"known_{name}").fill_(True)
    batch = complete(dict(zip(names, torch.tensor(inputs["embeddings"]), strict=True)))
    if rows == "missing":
        present = torch.tensor(inputs["available"]).bool().unbind(dim=1)
        batch = replace(batch, present=dict(zip(names, present, strict=True)))
    target = torch.tensor(inputs["y"])
    terms = [torch.stack(t) for t in zip(*(strategy.prototype_terms(n, batch, target) for n in names), strict=True)]
    pce, entropy, scores, counted = terms
    close(pce, expected["pce"])
    close(entropy, expected["entropy"])
    close(scores, expected["mean_true_prob"])
    beta, gamma = strategy.coefficients(scores, counted)
    close(beta, expected["beta"])
    close(gamma, expected["gamma"])
    close(hard.coefficients(scores, counted)[0], expected["hard_beta"])
    output = FusionOutput(torch.zeros(len(target), 3))
    task = row_losses(output.logits, target, MULTICLASS).mean()
    close(strategy.loss(output, batch, target) - task, expected["pce_term"] + expected["per_term"])
    strategy.alpha.zero_()  # one term alone: the other one is a hundred times larger
    close(strategy.loss(output, batch, target) - task, expected["per_term"])


@pytest.mark.parametrize("modalities", [2, 3])
def test_pmr_prototype_update_keeps_classes_without_rows(modalities):
    data = parity(f"pmr_paper_m{modalities}")
    names, inputs, expected = NAMES[:modalities], data["inputs"], data["prototype_update"]
    strategy = Pmr(FusionSpec(dict.fromkeys(names, 4), 3, MULTICLASS), eps=expected["momentum_on_old"])
    present = torch.tensor(inputs["available"]).bool().unbind(dim=1)
    batch = complete(dict(zip(names, torch.tensor(inputs["embeddings"]), strict=True)))
    batch = replace(batch, present=dict(zip(names, present, strict=True)))
    nothing = FusionOutput(torch.zeros(8, 3))
    sums = strategy.statistics(nothing, batch, torch.tensor(inputs["y"]), lambda view: nothing)
    for k, name in enumerate(names):
        close(sums[f"sums_{name}"][0], expected["class_sums"][k])
        close(sums[f"counts_{name}"][0], expected["class_counts"][k])
        getattr(strategy, f"prototypes_{name}").copy_(torch.tensor(expected["old"][k])[None])
        getattr(strategy, f"known_{name}").fill_(True)
    updated = strategy.update(sums, TrainingClock(3, 10))
    for k, name in enumerate(names):
        close(updated[f"prototypes_{name}"][0], expected["new"][k])


# ------------------------------------------------------------------------------------------------ G-Blend


@pytest.mark.parametrize("modalities", [2, 3])
def test_gblend_weights(modalities):
    data = parity(f"gblend_weights_m{modalities}")
    for case in data["cases"]:
        losses = [case[k] for k in ("train_before", "train_after", "valid_before", "valid_after")]
        close(blend_weights(*losses), case["weights_clip_negative_G"])
        close(blend_weights(*losses, negative_gain="abs"), case["weights_abs_G"])


@pytest.mark.parametrize("modalities", [2, 3])
def test_gblend_total_loss(modalities):
    blend = parity(f"gblend_weights_m{modalities}")["blend"]
    names = NAMES[:modalities]
    strategy = GBlend(FusionSpec(dict.fromkeys(names, 1), 1, TargetKind.BINARY), "fixed", weights=blend["weights"])
    # a logit of -log(e^L - 1) has loss L at label 1
    logits = [-torch.tensor([[loss]]).expm1().log() for loss in blend["head_losses"]]
    aux = {**{f"unimodal.{n}": z for n, z in zip(names, logits, strict=False)}, "joint": logits[-1]}
    batch = complete({n: torch.zeros(1, 1) for n in names})
    close(strategy.loss(FusionOutput(logits[-1], aux), batch, torch.tensor([1])), blend["total"])


class Encoded(nn.Module):
    """tanh(linear) encoders below a strategy: what the file trains."""

    def __init__(self, data: dict) -> None:
        super().__init__()
        params = data["params"]
        names = NAMES[: len(params["encoders"])]
        width, classes = len(params["encoders"][0]["bias"]), len(params["joint"]["bias"])
        inputs = [len(e["weight"][0]) for e in params["encoders"]]
        self.encoder = nn.ModuleDict({n: nn.Linear(i, width) for n, i in zip(names, inputs, strict=True)})
        self.fusion = GBlend(FusionSpec(dict.fromkeys(names, width), classes, MULTICLASS), shrink=0.0)
        layers = [*self.encoder.values(), *self.fusion.heads.values(), self.fusion.joint.head]
        for layer, values in zip(layers, [*params["encoders"], *params["heads"], params["joint"]], strict=True):
            layer.load_state_dict({k: torch.tensor(v) for k, v in values.items()})

    def forward(self, split: dict) -> tuple[FusionOutput, Batch, Tensor]:
        inputs = [torch.tensor(x) for x in split["x"]]
        features = {n: encode(x).tanh() for (n, encode), x in zip(self.encoder.items(), inputs, strict=True)}
        batch = complete(features)
        return self.fusion(batch), batch, torch.tensor(split["y"])

    def losses(self, split: dict) -> dict[str, float]:
        losses = self.fusion.head_losses(*self(split))
        return {n: losses[n].mean().item() for n in losses if not n.endswith(".rows")}


@pytest.mark.parametrize("modalities", [2, 3])
def test_gblend_estimates_weights_from_its_probes(modalities):
    data = parity(f"gblend_estimate_m{modalities}")
    train, valid = data["data"]["train"], data["data"]["valid"]
    probe, final = Encoded(data).fusion.stages()
    results = []
    for replica in probe.replicas:
        model = Encoded(data)
        model.fusion.head_weights.copy_(replica["head_weights"])
        before = model.losses(train), model.losses(valid)
        optimiser = torch.optim.SGD(model.parameters(), lr=data["lr"])
        for _ in range(data["epochs"]):
            optimiser.zero_grad()
            model.fusion.loss(*model(train)).backward()
            optimiser.step()
        results.append(SplitLosses(before[0], model.losses(train), before[1], model.losses(valid)))
    heads = [*NAMES[:modalities], "joint"]
    for key, index in (("train_before", 0), ("train_after", 1), ("valid_before", 2), ("valid_after", 3)):
        close([r[index][h] for r, h in zip(results, heads, strict=True)], data["losses"][key])
    close(probe.finish(results)["head_weights"], data["spec_weights"])
    assert (final.name, final.epochs, len(probe.replicas)) == ("train", 1.0, modalities + 1)


# ------------------------------------------------------------------------------------------------ DWFuse


def dwfuse_on_logits(names: tuple[str, ...], outputs: int, kind: TargetKind, joint: Tensor | None = None, **options):
    """A strategy whose heads return their features: the file's logits."""
    spec = FusionSpec(dict.fromkeys(names, outputs), outputs, kind)
    strategy = DWFuse(spec, joint="none" if joint is None else "concat", **options)
    strategy.heads = nn.ModuleDict({n: nn.Identity() for n in names})
    if joint is not None:
        strategy.joint = Constant(joint)
    return strategy


class Constant(nn.Module):
    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = value

    def forward(self, features: Tensor) -> Tensor:
        return self.value


def weights_of(strategy: DWFuse, batch: Batch) -> Tensor:
    log_p = torch.stack([state_log_probabilities(batch.completed(n), strategy.spec.kind) for n in batch.names])
    usable = batch.usable_mask().T.reshape(*log_p.shape[:2], *[1] * (log_p.ndim - 2))
    return strategy._weights(log_p, usable)


@pytest.mark.parametrize("modalities", [2, 3])
def test_dwfuse_equals_the_multiplicative_combination_of_2018(modalities):
    data = parity(f"dwfuse_reference_m{modalities}")
    names, logits = NAMES[:modalities], torch.tensor(data["inputs"]["logits"]).requires_grad_()
    strategy = dwfuse_on_logits(names, logits.shape[-1], MULTICLASS, beta=data["beta"], predict="scores")
    batch, target = complete(dict(zip(names, logits, strict=True))), torch.tensor(data["inputs"]["y"])
    output = strategy(batch)
    loss = strategy.loss(output, batch, target)
    close(output.aux["scores"].detach(), data["outputs"]["class_scores"])
    close(weights_of(strategy, batch), data["weights_per_class"])
    close(loss.detach(), data["outputs"]["loss"])
    assert output.logits.argmax(dim=-1).tolist() == data["outputs"]["prediction"]
    close(torch.autograd.grad(loss, logits)[0], data["logit_grad"])


@pytest.mark.parametrize("modalities", [2, 3])
def test_dwfuse_equals_the_closed_form(modalities):
    data = parity(f"dwfuse_omnifuse_m{modalities}")
    names = NAMES[:modalities]
    assert len(data["cases"]) == {2: 12, 3: 18}[modalities]
    for case in data["cases"]:
        inputs, kind = data["inputs"][case["inputs_key"]], TargetKind(case["task"])
        joint = torch.tensor(inputs["joint_logits"])
        target = torch.tensor(inputs["y"])
        target = target.squeeze(1) if kind is TargetKind.BINARY else target
        batch = complete(dict(zip(names, torch.tensor(inputs["logits"]), strict=True)))
        if case["availability"] == "missing":
            present = torch.tensor(data["available"]).bool().unbind(dim=1)
            batch = replace(batch, present=dict(zip(names, present, strict=True)))
        options = {"alpha": data["alpha"], "beta": case["beta"]}
        for predict, key in (
            ("total", "prob_scores_plus_joint"),
            ("scores", "prob_scores_only"),
            ("joint", "prob_joint_head"),
            ("mean", "prob_mean_of_modalities"),
        ):
            strategy = dwfuse_on_logits(names, joint.shape[-1], kind, joint, predict=predict, **options)
            output = strategy(batch)
            p = output.logits.softmax(-1) if kind is MULTICLASS else output.logits.sigmoid()
            close(p, torch.tensor(case[key]).reshape(p.shape))
        close(output.aux["scores"], case["class_scores"])
        close(strategy.loss(output, batch, target), case["L_dwfuse"])
        alone = dwfuse_on_logits(names, joint.shape[-1], kind, **options)
        close(alone.loss(alone(batch), batch, target), case["L_enc"])
        close(row_losses(joint, target, kind).mean(), case["L_ra"])
        weights, expected = weights_of(strategy, batch), torch.tensor(case["weights_per_class"])
        usable = batch.usable_mask().T.reshape(*weights.shape[:2], *[1] * (weights.ndim - 2))
        close(torch.where(usable, weights, 0), torch.where(usable, expected, 0))
