"""Problems whose answer is known: exclusive or, a modality of noise, a modality that is learnt by heart.

The fast versions train a few strategies on fewer rows; the slow ones run the benchmark files with every strategy.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks.oracles.differences import differences, done, pairs_of
from fusionbench.config.reading import load_benchmark
from fusionbench.keys import DISTRIBUTION
from fusionbench.plugins.catalogue import Plugins

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = {p: ROOT / "benchmarks" / f"oracle_{p}.yaml" for p in ("xor", "noise", "lazy")}

# Which fusions see an exclusive or, and why; docs/results-oracles.md has the measured numbers.
CAN = {
    "concat with a hidden layer": "a hidden layer over all embeddings",
    "attention": "the class token's layer reads a mixture of all tokens",
    "daft": "each embedding is multiplied by what the others say",
    "dwfuse with a hidden layer": "its joint head has a hidden layer over all embeddings",
    "lmf": "a product of the modalities' factors",
    "medfuse": "the second step of the LSTM multiplies by gates that know the first modality",
    "mmtm": "gates that know all modalities multiply each embedding",
    "se_gate": "gates that know all modalities multiply each embedding",
    "omnifuse with a hidden layer": "dwfuse's joint head, on latents of all modalities",
}
CANNOT = {
    "first only": "one modality says nothing",
    "second only": "one modality says nothing",
    "late_average": "a sum of unimodal logits",
    "late_average of probabilities": "the mean probability rises with each modality's own: a sum decides the order",
    "dwfuse": "a linear joint head, and heads that hear of their own modality only",
    "sum": "a linear head on a sum: a sum of unimodal logits",
    "sum of logits": "a sum of unimodal logits",
    "concat": "a linear head is a sum of unimodal logits",
    "concat+tla": "the loss changes, the head does not",
    "g_blend": "its joint head is that of concat",
    "ogm_ge": "concat; only the gradients change",
    "pmr": "concat; only the loss changes",
    "dwfuse without its joint head": "weights are constants in training: each head hears of its own modality only",
    "tmc": "its rule could, by a narrow margin; every modality's own loss draws its evidence to nothing",
}

FITTED = {"logistic_regression", "gradient_boosting"}  # they need frozen encoders, and these problems train theirs


def run_of(problem, workspace, *assignments):
    """Run the benchmark file of an oracle, with changes."""
    return done(BENCHMARKS[problem], workspace, ["observers=[]", "evaluation.subsets=false", *assignments])


def scores(run):
    """AUROC on complete data by strategy: value, lower and upper end of its interval."""
    table = run.execute().tables.leaderboard
    assert table["area"].notna().all()
    lines = table[table["strategy"] != "prevalence"]  # the constant, which is no strategy
    return {r.strategy: (r.area, r.area_low, r.area_high) for r in lines.itertuples()}


def strategies(problem, *titles):
    """The named strategies of a benchmark file, as an assignment."""
    found = [s for s in load_benchmark(BENCHMARKS[problem]).strategies if s.title in titles]
    assert len(found) == len(titles)
    return f"strategies={json.dumps([s.model_dump(mode='json', exclude_none=True) for s in found])}"


# --------------------------------------------------------------------------------------------
# the benchmark files


@pytest.mark.parametrize("problem", BENCHMARKS)
def test_every_strategy_takes_part_in_every_oracle(problem):
    registered = {e.name for e in Plugins().catalogue() if e.kind == "strategies" and e.distribution == DISTRIBUTION}
    listed = {s.name for s in load_benchmark(BENCHMARKS[problem]).strategies}
    alone = {"unimodal"} if problem == "noise" else set()  # it reads one modality, whatever is added
    assert registered - listed == alone | FITTED


def test_the_file_of_exclusive_or_lists_what_can_and_what_cannot():
    assert {s.title for s in load_benchmark(BENCHMARKS["xor"]).strategies} == CAN.keys() | CANNOT.keys()
    assert not CAN.keys() & CANNOT.keys()


def test_the_file_of_noise_lists_everything_twice(tmp_path):
    titles = [s.title for s in load_benchmark(BENCHMARKS["noise"]).strategies]
    assert sorted(titles) == sorted(
        [t for t in titles if " on " not in t] + [f"{t} on strong+weak" for t in titles if " on " not in t]
    )


# --------------------------------------------------------------------------------------------
# what they find


def check_xor(found):
    for name, (_, low, high) in found.items():
        if name in CAN:
            assert low > 0.7, f"{name} can: {CAN[name]}"
        else:
            assert high < 0.6, f"{name} cannot: {CANNOT[name]}"
            assert low < 0.52, name


def test_a_sum_of_what_modalities_say_does_not_rank_an_exclusive_or():
    """Whatever the unimodal scores: of four pairs of a positive and a negative row, two are ranked wrongly."""
    draw = np.random.default_rng(0)
    for _ in range(100):
        first, second = draw.normal(size=(2, 2))
        score = first[[0, 0, 1, 1]] + second[[0, 1, 0, 1]]
        assert roc_auc_score([0, 1, 1, 0], score) == pytest.approx(0.5)


@pytest.mark.slow  # five networks are trained to the end, and no unit is tested by it
def test_exclusive_or_is_found_by_fusions_that_can_and_not_by_late_average(tmp_path):
    """Takes long: five networks train until they have learnt what can be learnt."""
    names = ("late_average", "concat", "concat with a hidden layer", "lmf", "mmtm")
    steps = ["training.batch_size=128", "training.learning_rate=0.006", "training.epochs=20"]
    fewer = ["splits.seeds=[0]", "splits.use=[0]", *steps, "evaluation.resamples=100"]
    found = scores(run_of("xor", tmp_path, strategies("xor", *names), *fewer))
    assert found.keys() == set(names)
    check_xor(found)


def test_noise_costs_no_more_than_its_interval(tmp_path):
    names = ("concat", "late_average", "sum")
    both = [t for n in names for t in (n, f"{n} on strong+weak")]
    fewer = ["splits.use=[0]", "training.epochs=8", "training.batch_size=128", "evaluation.resamples=100"]
    run = run_of("noise", tmp_path, strategies("noise", *both), *fewer, "splits.seeds=[0, 1]")
    pairs = pairs_of(run.resolved.arms)
    assert [p.every.title for p in pairs] == ["late_average", "sum", "concat"]
    for pair, compared in zip(pairs, differences(run, pairs), strict=True):
        assert compared.value > 0.9
        # by the rule that decides leaderboards: if trained again
        assert compared.high >= 0 or compared.p > 0.05, pair.every.title
        assert compared.difference > -0.01, pair.every.title


def test_a_pair_is_a_strategy_with_all_modalities_and_the_same_with_some(tmp_path):
    run = run_of(
        "noise",
        tmp_path,
        strategies("noise", "concat", "concat on strong+weak", "sum on strong+weak"),
        "splits.use=[0]",
        "splits.seeds=[0]",
        "training.epochs=1",
        "evaluation.resamples=100",
    )
    (pair,) = pairs_of(run.resolved.arms)
    assert (pair.every.title, pair.some.title) == ("concat", "concat on strong+weak")
    swapped = type(pair)(pair.some, pair.every)
    (one,), (other,) = (differences(run, [p]) for p in (pair, swapped))
    assert one.difference == pytest.approx(-other.difference)
    assert one.difference == pytest.approx(one.value - other.value)


def check_lazy(found, traces):
    """The order that the problem is made for, and what the coefficients of OGM-GE and DWFuse do."""
    assert found["concat"][0] < found["slow only"][0] - 0.05  # joint training starves the better modality
    assert found["concat"][0] < found["ogm_ge 0.8"][0]
    mean = traces.groupby(["strategy", "what", "which", "epoch"])["value"].mean()
    k = mean["ogm_ge 0.8"]["k"]
    assert (k["fast"][10:] < 0.5).any()
    assert (k["fast"][5:20] < k["slow"][5:20]).all()  # the fast one is slowed, as soon as it leads
    assert (k["fast"].iloc[-5:] == 1).all()  # until half of the epochs are over
    weight = mean["dwfuse"]["weight"]
    assert (
        weight["slow"].iloc[-1] < 0.3 < weight["fast"].iloc[-1]
    )  # the slow one hardly counts once the fast one is sure


@pytest.mark.slow  # four networks are trained to the end, and no unit is tested by it
def test_a_modality_that_is_learnt_by_heart_starves_the_better_one_and_the_remedies_see_it(tmp_path):
    """Takes long: four networks train until the faster modality is known by heart, and longer."""
    names = ("slow only", "concat", "ogm_ge 0.8", "dwfuse")
    steps = ["training.batch_size=128", "training.learning_rate=0.04"]  # half as many, twice as long
    fewer = ["splits.use=[0]", "splits.seeds=[0]", "evaluation.resamples=100", *steps]
    run = run_of("lazy", tmp_path, strategies("lazy", *names), *fewer)
    check_lazy(scores(run), run.execute().traces)


# --------------------------------------------------------------------------------------------
# every strategy


@pytest.mark.slow
def test_exclusive_or_with_every_strategy(tmp_path):
    check_xor(scores(run_of("xor", tmp_path)))


@pytest.mark.slow
def test_noise_with_every_strategy(tmp_path):
    run = run_of("noise", tmp_path)
    pairs = pairs_of(run.resolved.arms)
    assert len(pairs) == len(run.resolved.arms) / 2
    for pair, compared in zip(pairs, differences(run, pairs), strict=True):
        # by the rule that decides leaderboards: if trained again
        assert compared.high >= 0 or compared.p > 0.05 / len(pairs), pair.every.title
        assert compared.difference > -0.01, pair.every.title


@pytest.mark.slow
def test_lazy_with_every_strategy(tmp_path):
    run = run_of("lazy", tmp_path)
    found, traces = scores(run), run.execute().traces
    check_lazy(found, traces)
    assert found["fast only"][0] < found["slow only"][0] < found["late_average"][0]
    for remedy in ("pmr", "g_blend"):
        assert found["concat"][2] < found[remedy][0], remedy
    mean = traces.groupby(["strategy", "what", "which", "epoch"])["value"].mean()
    beta, weight = mean["pmr"]["beta"], mean["g_blend"]["head weight"]
    assert beta["slow"].max() > 0.3 > beta["fast"].max()  # the slow one is pulled
    assert weight["slow"].mean() > weight["fast"].mean()
