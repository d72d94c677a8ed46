"""Plugins with bad habits harm their own cells only, and the message says whose fault it is."""

from __future__ import annotations

import csv
import os
import random
import signal
import warnings

import numpy as np
import pytest
import torch

from fusionbench.contract.isolation import SHOWN_LINES, contained, owned, plugin_call, reason_of, shared
from fusionbench.errors import DataError, PluginError
from fusionbench.plugins.catalogue import Plugins
from fusionbench.testing.exams.manners import global_state, same_state
from tests.front import fusionbench, run_toy, toy_benchmark, write_yaml

BAD = """
import random
import numpy as np
import torch
from torch import nn
from fusionbench import FusionOutput, FusionStrategy, hookimpl

torch.set_default_dtype(torch.float64)  # at import, for everybody


class Linear(FusionStrategy):
    stackable = False

    def __init__(self, spec):
        super().__init__(spec)
        self.head = nn.Linear(sum(spec.dims.values()), spec.num_outputs)

    def forward(self, batch):
        return self.head(torch.cat([batch.completed(n) for n in self.spec.names], dim=-1))


class Raises(Linear):
    def forward(self, batch):
        raise KeyError("no such thing")


class Diverges(Linear):
    def loss(self, output, batch, target):
        return super().loss(output, batch, target) * float("inf")


class Prints(Linear):
    def forward(self, batch):
        print("a line", end=" of two parts\\n")
        return super().forward(batch)


class Draws(Linear):
    def forward(self, batch):
        torch.rand(3), np.random.rand(3), random.random()
        return super().forward(batch)


class Sets(Linear):
    def __init__(self, spec):
        super().__init__(spec)
        torch.set_default_dtype(torch.float64)
        torch.manual_seed(1)

    def forward(self, batch):
        torch.set_default_dtype(torch.float64)
        torch.manual_seed(2)
        np.random.seed(2)
        random.seed(2)
        np.seterr(all="raise")
        return super().forward(batch)


class Writes(Linear):
    uses_zero_input = True

    def forward(self, batch):
        output = super().forward(batch)
        for name in batch.names:
            with torch.no_grad():
                batch.features[name].mul_(0)
                batch.zero_input[name].add_(7)
                batch.present[name].fill_(False)
                batch.available[name].fill_(False)
        return output


class OneColumn(Linear):
    def forward(self, batch):
        return super().forward(batch).squeeze(1)


class NoScalar(Linear):
    def loss(self, output, batch, target):
        return output.logits.sum(dim=1)


@hookimpl
def register_fusion_strategies(register):
    for cls in (Raises, Diverges, Prints, Draws, Sets, Writes, OneColumn, NoScalar):
        register(cls.__name__.lower(), cls)
"""
NAMES = ("raises", "diverges", "prints", "draws", "sets", "writes", "onecolumn", "noscalar")


def cells(workspace, strategy):
    """The stored numbers of one strategy."""
    text = (workspace / "reports" / "toy" / "cells.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    # how long a model took, and the memory it needed, is not decided by what is trained
    timed = ("seconds", "memory")
    return [{k: v for k, v in row.items() if not k.startswith(timed)} for row in rows if row["strategy"] == strategy]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The good ones alone, and between the bad ones; with embeddings that nothing projects."""
    folder = tmp_path_factory.mktemp("isolation")
    (folder / "bad.py").write_text(BAD, encoding="utf-8")
    outcomes = []
    for name, strategies in {"alone": ["concat", "dwfuse"], "among": ["concat", *NAMES, "dwfuse"]}.items():
        document = toy_benchmark(strategies=strategies, model={"width": None}, imputers=["zero", "zero_input"])
        config = write_yaml(folder / f"{name}.yaml", document)
        outcomes.append(run_toy(config, folder / name, "-p", folder / "bad.py", "--quiet"))
    assert torch.get_default_dtype() == torch.float32
    return folder, *outcomes


def test_good_strategies_have_the_same_numbers_alone_and_among_bad_ones(runs):
    folder, alone, among = runs
    assert (alone.code, among.code) == (0, 1)
    for strategy in ("concat", "dwfuse"):
        found, wanted = cells(folder / "among", strategy), cells(folder / "alone", strategy)
        assert len(wanted) == 8
        assert found == wanted


def test_what_only_behaves_badly_is_trained_and_ranked(runs):
    folder, *_ = runs
    for strategy in ("prints", "draws", "sets", "writes"):
        assert len(cells(folder / "among", strategy)) == 8


def flat(text):
    """The words of what is printed, whatever the width of the table that they are in."""
    return " ".join(text.translate(str.maketrans(dict.fromkeys("│┃", " "))).split())


@pytest.mark.parametrize(
    ("strategy", "reason"),
    [
        ("raises", "fusion strategy 'raises' of file bad.py: KeyError: 'no such thing' (bad.py:"),
        ("diverges", "diverged"),
        ("onecolumn", "fusion strategy 'onecolumn' of file bad.py: logits of shape [32, 1] expected, found [32]"),
        ("noscalar", "fusion strategy 'noscalar' of file bad.py: a loss of shape [] expected, found [32]"),
    ],
)
def test_a_failure_names_plugin_distribution_cell_and_what_was_expected(runs, strategy, reason):
    folder, _, among = runs
    stored = [p.read_text(encoding="utf-8") for p in (folder / "among" / "results" / "failures").iterdir()]
    own = [text for text in stored if f'"{strategy}' in text]
    assert len(own) == 4
    assert all(reason in text and "fold " in text for text in own)
    assert f"{strategy} / zero, fold 0, seed 0" in flat(among.out)


def test_what_a_plugin_prints_is_led_to_standard_error_under_its_name(runs):
    _, _, among = runs
    assert "a line" not in among.out
    lines = [line for line in among.err.splitlines() if "prints" in line]
    assert "[prints / zero, fold 0, seed 0] a line of two parts" in lines
    assert sum("lines more" in line for line in lines) == 2  # one population for each imputer


def test_many_lines_are_counted_and_not_shown(capsys):
    with contained("chatty"):
        for i in range(SHOWN_LINES + 5):
            print(i)
        print("unfinished", end="")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0] == "[chatty] 0"
    assert err.splitlines()[-1] == "[chatty] ... and 6 lines more"


def disturb():
    np.random.rand(), random.random(), torch.rand(1)  # noqa: NPY002 (what a plugin may do)
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    np.seterr(all="raise")
    raise RuntimeError


def test_states_and_settings_are_put_back_also_when_something_is_raised():
    before = global_state()
    with pytest.raises(RuntimeError), contained("bad"):
        disturb()
    assert same_state(global_state(), before)


def test_the_innermost_plugin_is_blamed():
    class Part:
        def work(self):
            return {}["x"]

    class Whole:
        def __init__(self):
            self.part = owned(Part(), "encoder 'part' of small 1.0")

        def work(self):
            return self.part.work()

    with pytest.raises(KeyError) as caught:
        owned(Whole(), "strategy 'whole' of large 2.0").work()
    assert reason_of(caught.value).startswith("encoder 'part' of small 1.0: KeyError: 'x' (test_isolation.py:")


def test_a_wrong_imputer_and_a_wrong_encoder_are_told_apart(tmp_path):
    (tmp_path / "bad.py").write_text(
        '''
from dataclasses import replace
from fusionbench import Encoder, Imputer, hookimpl


class Halves(Imputer):
    """Forgets half of the width."""

    def forward(self, batch):
        return replace(batch, features={n: f[:, :2] for n, f in batch.features.items()})


class Sums(Encoder):
    """Says 4, returns 1."""

    accepts = frozenset({"vector"})

    def __init__(self, spec):
        super().__init__()
        self.output_dim = 4

    def forward(self, inputs, lengths=None):
        return inputs.sum(dim=1, keepdim=True)


@hookimpl
def register_imputers(register):
    register("halves", Halves)


@hookimpl
def register_encoders(register):
    register("sums", Sums)
''',
        encoding="utf-8",
    )
    for changes, reason in (
        (
            {"imputers": ["halves"]},
            "imputer 'halves' of file bad.py: features of a of shape [32, 4] expected, found [32, 2]",
        ),
        (
            {"encoders": {"a": "sums", "b": "identity", "c": "identity"}},
            "encoder 'sums' of file bad.py: embeddings [32, 4] expected, found [32, 1]",
        ),
    ):
        config = write_yaml(tmp_path / "toy.yaml", toy_benchmark(strategies=["concat"], **changes))
        outcome = run_toy(config, tmp_path / "runs", "-p", tmp_path / "bad.py", "--quiet")
        assert outcome.code == 1
        assert reason in flat(outcome.out)


def test_a_plugin_that_prints_and_sets_things_at_import_does_not_disturb_a_listing(tmp_path):
    path = tmp_path / "loud.py"
    path.write_text(
        "import torch\nprint('hello')\ntorch.set_default_dtype(torch.float64)\nfrom fusionbench import Missingness, hookimpl\n"
        "class Loud(Missingness):\n    def thresholds(self, context, generator): ...\n"
        "@hookimpl\ndef register_missingness(register):\n    register('loud', Loud)\n",
        encoding="utf-8",
    )
    outcome = fusionbench("list", "missingness", "-p", path)
    assert "missingness   loud                 file loud.py\n" in outcome.out
    assert "hello" not in outcome.out
    assert outcome.err == "[file loud.py] hello\n"
    assert torch.get_default_dtype() == torch.float32
    assert Plugins().failures == []


def test_a_warning_of_a_plugin_stays_a_warning(recwarn):
    with contained("careful"):
        warnings.warn("mind the gap", UserWarning, stacklevel=1)
    assert [str(w.message) for w in recwarn] == ["mind the gap"]


# --------------------------------------------------------------------------------------------
# what would end the program, and what errors say


class Own(BaseException):
    """Somebody's own."""


@pytest.mark.parametrize("problem", [SystemExit(0), SystemExit("bye"), Own("base"), GeneratorExit(), StopIteration(1)])
def test_what_would_end_the_program_is_an_error_of_the_plugin(problem):
    with pytest.raises((PluginError, StopIteration)) as caught, contained("evil"):
        raise problem
    if isinstance(caught.value, PluginError):
        assert str(caught.value).startswith(f"evil: {type(problem).__name__}: ")
        assert str(caught.value).endswith("; a plugin must not end the program")
        assert "test_isolation.py:" in str(caught.value)


def test_leaving_at_once_is_an_error_too():
    before = os._exit
    with pytest.raises(PluginError, match=r"os\._exit\(0\)"), contained("evil"):
        os._exit(0)
    assert os._exit is before


@pytest.fixture
def interrupted_as_from_a_terminal():
    """SIGINT raises; a shell that starts a job in the background leaves it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupted_as_from_a_terminal")
def test_an_interruption_of_the_user_stays_what_it_is_and_one_that_a_plugin_raises_is_its_own():
    class Part:
        def work(self):
            raise KeyboardInterrupt

    for watched in ("", "methods", "all"):
        with pytest.raises(KeyboardInterrupt), contained("evil", watched=watched):
            signal.raise_signal(signal.SIGINT)
    for watched in ("methods", "all"):
        with pytest.raises(PluginError, match="KeyboardInterrupt"), contained("evil", watched=watched):
            owned(Part(), "strategy 'evil'").work()
    with pytest.raises(KeyboardInterrupt), contained("evil"):
        raise KeyboardInterrupt
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_call_without_which_a_run_cannot_go_on_says_what_was_raised():
    words = r"^task 'x' failed: ZeroDivisionError: division by zero \(test_isolation"
    with pytest.raises(PluginError, match=words), plugin_call("task 'x'"):
        1 / 0  # noqa: B018
    with pytest.raises(DataError, match=r"^as it is$"), plugin_call("task 'x'"):
        raise DataError("as it is")


def reason(problem):
    try:
        raise problem  # noqa: TRY301 - what is caught has a place
    except BaseException as caught:  # noqa: BLE001
        return reason_of(caught)


class Mute(Exception):  # noqa: N818
    def __str__(self):
        raise SystemExit(0)


def test_words_that_cannot_be_read_and_words_without_end_are_cut():
    assert "its words cannot be read: SystemExit" in reason(Mute())
    long = reason(ValueError("m" * 10_000_000))
    assert len(long) < 500
    assert "(10,000,000 characters)" in long


@pytest.mark.parametrize("problem", [ValueError, KeyError, RuntimeError, DataError, PluginError])
@pytest.mark.parametrize(
    "text", ["row 17 of patient CANARY", "CANARY: x: y (a.py:1)", "CANARY (b.py:2) CANARY", "CANARY\nnext"]
)
def test_what_reports_share_has_no_word_of_a_plugin(problem, text):
    whole = reason(problem(text))
    assert "CANARY" in whole
    for words in (whole, f"no trial succeeded; the first said: {whole}", f"strategy 'x' of file y.py: {whole}"):
        assert "CANARY" not in shared(words)
        assert problem.__name__ in shared(words)
        assert "test_isolation.py:" in shared(words)


def test_what_the_house_says_is_shared_as_it_is():
    for words in (
        "diverged: the loss was not finite in epoch 3 of stage 'joint'",
        "no epoch could be scored: 'auroc' on the 40 rows is undefined (one class only?); use fewer folds",
        "fusion strategy 'x' of file x.py: logits of shape [32, 1] expected, found [32]",
    ):
        assert shared(words) == words
    refused = "f: strategy 'x' of file x.py cannot be constructed: KeyError: 'CANARY'"
    assert shared(refused) == "f: strategy 'x' of file x.py cannot be constructed: KeyError"
