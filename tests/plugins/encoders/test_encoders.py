from __future__ import annotations

import copy
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from torch.func import functional_call, stack_module_state, vmap

from fusionbench import InputSpec
from fusionbench.contract.learners import Encoder
from fusionbench.errors import WeightsError
from fusionbench.noise import Dropout
from fusionbench_plugins.encoders.hashed_words import HashedWords, words
from fusionbench_plugins.encoders.hf_text import HfText
from fusionbench_plugins.encoders.identity import Identity
from fusionbench_plugins.encoders.image_grid import ImageGrid
from fusionbench_plugins.encoders.lstm import Lstm
from fusionbench_plugins.encoders.mlp import Mlp
from fusionbench_plugins.encoders.series_summary import SeriesSummary
from fusionbench_plugins.encoders.timm_image import TimmImage

SERIES = InputSpec("series", (6, 3))
IMAGE = InputSpec("image", (20, 24))
TEXT = InputSpec("text")
VECTOR = InputSpec("vector", (5,))
TEXTS = ["No acute findings.", "Large right effusion, edema", "", "clear lungs " * 40]


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def bert_folder(tmp_path_factory):
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters), "lungs", "."]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizerFast.from_pretrained(str(folder)).save_pretrained(str(folder))
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    BertModel(config).save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="module")
def resnet_folder(tmp_path_factory):
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(2)
    model = timm.create_model("test_resnet", pretrained=False, num_classes=7)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
    folder = tmp_path_factory.mktemp("resnet")
    save_file(model.state_dict(), folder / "model.safetensors")
    torch.save({"state_dict": model.state_dict()}, folder / "checkpoint.pth")
    return folder


def images(rows=3):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (rows, 20, 24), dtype=np.uint8))


def bert(folder, **options):
    return HfText(TEXT, path=folder, max_length=32, **options)


def resnet(folder, **options):
    return TimmImage(IMAGE, model="test_resnet", path=folder, size=32, **options)


def small_encoders():
    return {
        "lstm": (Lstm(SERIES, hidden=4), torch.randn(3, 6, 3)),
        "series_summary": (SeriesSummary(SERIES), torch.randn(3, 6, 3)),
        "image_grid": (ImageGrid(IMAGE), images()),
        "hashed_words": (HashedWords(TEXT, width=16), torch.from_numpy(HashedWords(TEXT, width=16).prepare(TEXTS)[0])),
        "mlp": (Mlp(VECTOR, hidden=(7,), output_dim=2, dropout=0.5), torch.randn(3, 5)),
        "identity": (Identity(VECTOR), torch.randn(3, 5)),
        "hf_text": (HfText(TEXT, pretrained=False), torch.from_numpy(HfText(TEXT, pretrained=False).prepare(TEXTS)[0])),
        "timm_image": (TimmImage(IMAGE, model="test_resnet", pretrained=False, size=32), images()),
    }


# ---------------------------------------------------------------------------------------- all of them


def test_every_encoder_returns_finite_floats_of_its_output_dim():
    for name, (encoder, inputs) in small_encoders().items():
        output = encoder.eval()(inputs)
        assert output.shape == (len(inputs), encoder.output_dim), name
        assert output.dtype == torch.float32, name
        assert output.isfinite().all(), name


def test_every_encoder_treats_rows_alone():
    for name, (encoder, inputs) in small_encoders().items():
        encoder.eval()
        alone = torch.cat([encoder(inputs[i : i + 1]) for i in range(len(inputs))])
        torch.testing.assert_close(encoder(inputs), alone, msg=lambda m, n=name: f"{n}: {m}", rtol=1e-4, atol=1e-5)


def test_fingerprints_of_equal_encoders_agree_and_differ_between_encoders():
    torch.manual_seed(0)
    first = {name: e.fingerprint() for name, (e, _) in small_encoders().items()}
    torch.manual_seed(0)
    second = {name: e.fingerprint() for name, (e, _) in small_encoders().items()}
    assert first == second
    assert len(set(first.values())) == len(first)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda: ImageGrid(IMAGE, grid=4), lambda: ImageGrid(IMAGE, grid=5)),
        (lambda: HashedWords(TEXT, width=8), lambda: HashedWords(TEXT, width=9)),
        (lambda: SeriesSummary(SERIES), lambda: SeriesSummary(SERIES, measurements=[0, 1])),
        (lambda: HfText(TEXT, pretrained=False), lambda: HfText(TEXT, pretrained=False, pool="mean")),
        (lambda: HfText(TEXT, pretrained=False), lambda: HfText(TEXT, pretrained=False, max_length=30)),
        (lambda: random_resnet(size=32), lambda: random_resnet(size=40)),
        (lambda: random_resnet(size=32), lambda: random_resnet(size=32, mean=[0.1, 0.2, 0.3])),
    ],
)
def test_fingerprint_depends_on_settings(one, other):
    assert one().fingerprint() == one().fingerprint()
    assert one().fingerprint() != other().fingerprint()


def random_resnet(**options):
    return TimmImage(IMAGE, model="test_resnet", pretrained=False, **options)


def test_fingerprint_depends_on_weights(bert_folder, resnet_folder):
    for encoder in (bert(bert_folder), resnet(resnet_folder)):
        changed = copy.deepcopy(encoder)
        assert changed.fingerprint() == encoder.fingerprint()
        with torch.no_grad():
            next(changed.parameters()).add_(1e-3)
        assert changed.fingerprint() != encoder.fingerprint()


def test_fingerprint_depends_on_the_tokeniser(bert_folder, tmp_path):
    import shutil

    other = tmp_path / "other"
    shutil.copytree(bert_folder, other)
    rules = (other / "tokenizer.json").read_text()
    (other / "tokenizer.json").write_text(rules.replace('"lungs"', '"heart"'))
    assert bert(other).fingerprint() != bert(bert_folder).fingerprint()
    assert bert(other).backbone.state_dict().keys() == bert(bert_folder).backbone.state_dict().keys()


CELLS = ("auto", "fused", "plain")


def test_which_encoders_are_frozen_and_which_can_be_stacked(bert_folder, resnet_folder):
    frozen = {name for name, (e, _) in small_encoders().items() if e.frozen}
    assert frozen == {"series_summary", "image_grid", "hashed_words", "hf_text", "timm_image"}
    assert not bert(bert_folder, frozen=False).frozen
    assert not resnet(resnet_folder, frozen=False).frozen
    assert not Lstm(SERIES).stackable
    assert Lstm(SERIES, cell="plain").stackable
    stacked = {c: [Lstm(SERIES, cell=c).stackable_on(torch.device(d)) for d in ("cpu", "cuda")] for c in CELLS}
    assert stacked == {"auto": [False, True], "fused": [False, False], "plain": [True, True]}
    assert Mlp(VECTOR).stackable


def test_no_module_draws_its_own_random_numbers_while_training(bert_folder, resnet_folder):
    tuned = [bert(bert_folder, frozen=False), resnet(resnet_folder, frozen=False)]
    inputs = [torch.from_numpy(tuned[0].prepare(TEXTS)[0]), images()]
    inputs += [torch.randn(3, 6, 3), torch.randn(3, 5)]
    tuned += [Lstm(SERIES, dropout=0.5, layers=2), Mlp(VECTOR, dropout=0.5)]
    for encoder, x in zip(tuned, inputs, strict=True):
        encoder.train()
        before = torch.random.get_rng_state()
        assert torch.equal(encoder(x), encoder(x))
        assert torch.equal(torch.random.get_rng_state(), before)


# ---------------------------------------------------------------------------------------- lstm


@pytest.mark.parametrize("options", [{}, {"layers": 2, "bidirectional": True}])
def test_lstm_cells_give_the_same_numbers_and_gradients(options):
    fused = Lstm(SERIES, hidden=5, **options).double()
    plain = Lstm(SERIES, hidden=5, cell="plain", **options).double()
    plain.load_state_dict(fused.state_dict())
    x, lengths = torch.randn(4, 6, 3, dtype=torch.float64), torch.tensor([6, 1, 3, 5])
    torch.testing.assert_close(fused(x, lengths), plain(x, lengths), rtol=0, atol=1e-10)
    gradients = [torch.autograd.grad(e(x, lengths).square().sum(), list(e.parameters())) for e in (fused, plain)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-10)


def test_lstm_equals_a_packed_library_lstm_of_several_layers():
    from torch.nn.utils.rnn import pack_padded_sequence

    encoder = Lstm(SERIES, hidden=5, layers=2, bidirectional=True)
    reference = torch.nn.LSTM(3, 5, num_layers=2, bidirectional=True, batch_first=True)
    state = {}
    for depth, layer in enumerate(encoder.layers):
        for suffix, cell in zip(("", "_reverse"), layer, strict=True):
            state |= {n.replace("l0", f"l{depth}") + suffix: p for n, p in cell.named_parameters()}
    reference.load_state_dict(state)
    x, lengths = torch.randn(4, 6, 3), torch.tensor([6, 1, 3, 5])
    _, (hidden, _) = reference(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
    torch.testing.assert_close(encoder(x, lengths), torch.cat([hidden[-2], hidden[-1]], dim=1))


def test_lstm_runs_the_cell_that_suits_the_device(monkeypatch):
    from fusionbench_plugins.encoders import lstm

    called = []
    plain = lstm.plain_lstm
    monkeypatch.setattr(lstm, "plain_lstm", lambda *a: called.append(True) or plain(*a))
    encoder, x = Lstm(SERIES, hidden=5), torch.randn(4, 6, 3)
    here = encoder(x)
    assert not called
    monkeypatch.setattr(encoder, "stackable_on", lambda device: True)  # as CUDA would be told
    torch.testing.assert_close(encoder(x), here)
    assert called


@pytest.mark.parametrize("cell", ["fused", "plain"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_lstm_never_reads_padding_forward_or_backward(cell, bidirectional):
    encoder = Lstm(SERIES, hidden=5, layers=2, bidirectional=bidirectional, cell=cell)
    x, lengths = torch.randn(3, 6, 3), torch.tensor([2, 6, 4])
    spoiled = x.clone()
    spoiled[0, 2:] = torch.nan
    spoiled[2, 4:] = torch.inf
    assert torch.equal(encoder(x, lengths), encoder(spoiled, lengths))
    encoder(spoiled, lengths).sum().backward()
    assert all(p.grad.isfinite().all() for p in encoder.parameters())


def test_lstm_without_lengths_reads_all_steps():
    encoder, x = Lstm(SERIES, hidden=5), torch.randn(3, 6, 3)
    assert torch.equal(encoder(x), encoder(x, torch.tensor([6, 6, 6])))


def test_plain_lstm_stacks_over_runs():
    members = [Lstm(SERIES, hidden=5, layers=2, bidirectional=True, cell="plain") for _ in range(3)]
    parameters, buffers = stack_module_state(members)
    x, lengths = torch.randn(4, 6, 3), torch.tensor([6, 1, 3, 5])
    stacked = vmap(lambda p, b: functional_call(members[0], (p, b), (x, lengths)))(parameters, buffers)
    torch.testing.assert_close(stacked, torch.stack([m(x, lengths) for m in members]))


def test_fused_lstm_follows_functional_parameters():
    members = [Lstm(SERIES, hidden=5) for _ in range(2)]
    x = torch.randn(4, 6, 3)
    output = functional_call(members[0], dict(members[1].named_parameters()), (x,))
    assert torch.equal(output, members[1](x))
    assert not torch.equal(output, members[0](x))


def test_lstm_dropout_uses_the_noise_it_is_given():
    encoder = Lstm(SERIES, hidden=5, layers=2, dropout=0.5).train()
    x = torch.randn(3, 6, 3)
    sources = [m for m in encoder.modules() if isinstance(m, Dropout)]
    assert len(sources) == 2
    sources[-1].noise = torch.zeros(3, 5)
    assert not encoder(x).any()
    assert encoder.eval()(x).any()


@pytest.mark.parametrize(("options", "message"), [({"cell": "gru"}, "auto"), ({"layers": 0}, "at least one layer")])
def test_lstm_refuses_options_that_mean_nothing(options, message):
    with pytest.raises(ValueError, match=message):
        Lstm(SERIES, **options)


# ---------------------------------------------------------------------------------------- small ones


def test_series_summary_equals_a_loop_over_valid_steps():
    encoder = SeriesSummary(SERIES, measurements=[0, 2])
    x, lengths = torch.randn(4, 6, 3) + 80, torch.tensor([6, 1, 3, 5])
    output = encoder(x, lengths).numpy()
    for row, length in enumerate(lengths.tolist()):
        steps = x[row, :length].double().numpy()
        measured = steps[:, [0, 2]]
        slope = np.polyfit(np.arange(length), measured, 1)[0] if length > 1 else np.zeros(2)
        expected = [steps.mean(0), measured.min(0), measured.max(0), measured[-1], slope]
        np.testing.assert_allclose(output[row], np.concatenate(expected), rtol=1e-5, atol=1e-4)


def test_series_summary_never_reads_padding():
    encoder, x, lengths = SeriesSummary(SERIES), torch.randn(2, 6, 3), torch.tensor([2, 6])
    spoiled = x.clone()
    spoiled[0, 2:] = torch.nan
    assert torch.equal(encoder(x, lengths), encoder(spoiled, lengths))


def test_series_summary_gives_the_share_of_measured_steps():
    mask = torch.tensor([[1.0], [0.0], [1.0], [0.0]])[None]
    encoder = SeriesSummary(InputSpec("series", (4, 1)), measurements=[])
    assert encoder.output_dim == 1
    assert encoder(mask, torch.tensor([3])).item() == pytest.approx(2 / 3)


def test_series_summary_refuses_channels_that_do_not_exist():
    with pytest.raises(ValueError, match=r"0 to 2, found \[3\]"):
        SeriesSummary(SERIES, measurements=[0, 3])


def test_image_grid_is_the_mean_of_each_cell_and_the_contrast():
    picture = torch.zeros(1, 8, 8, dtype=torch.uint8)
    picture[:, :4, 4:] = 255
    output = ImageGrid(InputSpec("image", (8, 8)), grid=2)(picture)[0]
    contrast, step = np.sqrt(0.25 * 0.75), 4 / (7 * 8)
    assert output.tolist() == pytest.approx([0, 1, 0, 0, contrast, step, step])


def test_image_grid_refuses_a_grid_finer_than_the_picture():
    with pytest.raises(ValueError, match="20 pixels"):
        ImageGrid(IMAGE, grid=21)


def test_hashed_words_count_sublinearly_whatever_the_case_and_the_order():
    encoder = HashedWords(TEXT, width=512)
    rows, lengths = encoder.prepare(["Edema edema edema lungs", "lungs EDEMA, edema (edema)", "edema", ""])
    assert lengths is None
    assert rows.dtype == np.float32
    assert np.array_equal(rows[0], rows[1])
    assert not rows[3].any()
    column = np.flatnonzero(rows[2][:-1])
    assert abs(rows[0][column]) == pytest.approx(1 + np.log(3))
    assert rows[0][-1] == pytest.approx(np.log(5))


def test_hashed_words_are_the_same_in_another_process():
    code = (
        "from fusionbench import InputSpec; from fusionbench_plugins.encoders.hashed_words import HashedWords;"
        "print(HashedWords(InputSpec('text'), width=8).prepare(['large right effusion'])[0].tolist())"
    )
    salted = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=salt(7))
    rows = HashedWords(TEXT, width=8).prepare(["large right effusion"])[0]
    assert salted.stdout.strip() == str(rows.tolist())


def salt(seed):
    import os

    return {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def test_words_are_runs_of_letters_and_digits():
    assert words("No acute-findings; 2.5cm?") == ["no", "acute", "findings", "2", "5cm"]


def test_mlp_without_hidden_layers_is_linear():
    encoder = Mlp(VECTOR, hidden=(), output_dim=3)
    x, y = torch.randn(2, 5), torch.randn(2, 5)
    torch.testing.assert_close(encoder(x) + encoder(y), encoder(x + y) + encoder(torch.zeros(1, 5)))


def test_encoders_that_read_arrays_refuse_text():
    with pytest.raises(TypeError, match="ImageGrid cannot read text"):
        ImageGrid(IMAGE).prepare(["words"])


# ---------------------------------------------------------------------------------------- timm_image


@pytest.mark.parametrize("file", ["", "model.safetensors", "checkpoint.pth"])
def test_timm_image_loads_a_local_file_and_leaves_the_classifier_out(resnet_folder, file):
    import timm

    encoder = resnet(resnet_folder / file).eval()
    assert encoder.weights == "pretrained"
    assert (encoder.output_dim, encoder.frozen) == (96, True)
    reference = timm.create_model("test_resnet", pretrained=False, num_classes=7)
    reference.load_state_dict(torch.load(resnet_folder / "checkpoint.pth", weights_only=True)["state_dict"])
    reference.reset_classifier(0)
    x = images().float()[:, None].expand(-1, 3, -1, -1) / 255
    x = torch.nn.functional.interpolate(x, size=(32, 32), mode="bilinear", antialias=True)
    torch.testing.assert_close(encoder(images()), reference.eval()((x - 0.5) / 0.5))


def test_timm_image_frozen_has_no_gradients_and_stays_in_evaluation_mode(resnet_folder):
    encoder = resnet(resnet_folder).train()
    assert not any(p.requires_grad for p in encoder.parameters())
    assert not any(m.training for m in encoder.backbone.modules())


def test_timm_image_tuned_learns_and_leaves_running_statistics_alone(resnet_folder):
    encoder = resnet(resnet_folder, frozen=False).train()
    before = {n: b.clone() for n, b in encoder.named_buffers()}
    encoder(images()).sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())
    assert all(torch.equal(b, before[n]) for n, b in encoder.named_buffers())


def test_timm_image_reads_grey_pictures_with_one_channel(resnet_folder):
    encoder = resnet(resnet_folder, channels=1)
    assert encoder.mean.shape == (1, 1, 1)
    assert encoder(images()).shape == (3, 96)


def test_timm_image_random_weights_are_marked_and_always_the_same():
    torch.manual_seed(5)
    first = random_resnet(size=32)
    state = torch.random.get_rng_state()
    second = random_resnet(size=32)
    assert first.weights == "random"
    assert first.fingerprint() == second.fingerprint()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert random_resnet(size=32, frozen=False).fingerprint() != random_resnet(size=32, frozen=False).fingerprint()


def test_timm_image_takes_vision_transformers():
    encoder = TimmImage(IMAGE, model="test_vit", pretrained=False, size=64, model_args={"img_size": 64})
    assert encoder(images()).shape == (3, encoder.output_dim)
    with pytest.raises(ValueError, match="cannot read 64 x 64 pixels"):
        TimmImage(IMAGE, model="test_vit_relpos", pretrained=False, size=64)


def test_timm_image_without_weights_says_how_to_get_them_and_says_it_at_once():
    begin = time.monotonic()
    with pytest.raises(WeightsError) as caught:
        TimmImage(IMAGE, model="test_resnet")
    assert time.monotonic() - begin < 5
    for part in (
        "timm/test_resnet.r160_in1k",
        "HF_HUB_OFFLINE",
        "$HF_HOME",
        "hf download",
        "path:",
        "pretrained: false",
    ):
        assert part in str(caught.value)


def test_without_a_network_the_answer_comes_at_once(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    begin = time.monotonic()
    with pytest.raises(WeightsError, match="the hub did not help"):
        TimmImage(IMAGE, model="test_resnet")
    with pytest.raises(WeightsError, match="the hub did not help"):
        HfText(TEXT)
    assert time.monotonic() - begin < 10


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "nowhere", "no such file or folder"),
        (lambda folder: folder, "0 files that may hold weights"),
        (lambda folder: wrote(folder / "model.safetensors", b"not weights"), "cannot be read as weights"),
        (lambda folder: wrote(folder / "model.pth", b"not weights"), "cannot be read as weights"),
        (lambda folder: saved(folder / "model.pth", {"conv1.weight": torch.zeros(3)}), "does not hold the weights"),
        (lambda folder: saved(folder / "model.pth", torch.zeros(3)), "cannot be read as weights"),
    ],
)
def test_timm_image_never_accepts_a_path_that_does_not_fit(tmp_path, make, message):
    with pytest.raises(WeightsError, match=message):
        TimmImage(IMAGE, model="test_resnet", path=make(tmp_path))


def wrote(path, content):
    path.write_bytes(content)
    return path


def saved(path, state):
    torch.save(state, path)
    return path


def test_timm_image_never_unpickles_code(tmp_path):
    torch.save({"state_dict": torch.nn.Linear(1, 1)}, tmp_path / "model.pth")
    with pytest.raises(WeightsError, match="weights_only=True"):
        TimmImage(IMAGE, model="test_resnet", path=tmp_path)


def test_timm_image_needs_every_tensor(resnet_folder, tmp_path):
    state = torch.load(resnet_folder / "checkpoint.pth", weights_only=True)["state_dict"]
    del state["layer1.0.conv1.weight"]
    with pytest.raises(WeightsError, match=r"layer1\.0\.conv1\.weight"):
        resnet(saved(tmp_path / "model.pth", state))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "resnet34x"}, "no model 'resnet34x'; names like it: .*resnet"),
        ({"model": "resnet34.imaginary"}, "resnet34"),
        ({"path": "somewhere", "pretrained": False}, "leave one of them out"),
        ({"model": "test_resnet", "pretrained": False, "mean": [0.5]}, "mean needs one number for each of 3"),
        ({"model": "test_resnet", "pretrained": False, "model_args": {"img_sze": 3}}, "does not take these options"),
    ],
)
def test_timm_image_explains_options_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        TimmImage(IMAGE, **options)


# ---------------------------------------------------------------------------------------- hf_text


def test_hf_text_tokenises_with_lengths_that_count_word_pieces(bert_folder):
    encoder = bert(bert_folder)
    tokens, lengths = encoder.prepare(["lungs", "", "ab .", "lungs " * 100])
    assert tokens.shape == (4, 32)
    assert lengths.tolist() == [3, 2, 5, 32]
    assert tokens.dtype == lengths.dtype == np.int64
    assert not tokens[0, 3:].any()


def test_hf_text_prepares_no_rows(bert_folder):
    tokens, lengths = bert(bert_folder).prepare([])
    assert (tokens.shape, lengths.shape) == ((0, 32), (0,))


@pytest.mark.parametrize("pool", ["cls", "mean", "tokens"])
def test_hf_text_equals_the_library_on_each_text_alone(bert_folder, pool):
    from transformers import AutoModel, AutoTokenizer

    encoder = bert(bert_folder, pool=pool).eval()
    model = AutoModel.from_pretrained(str(bert_folder)).eval()
    tokenizer = AutoTokenizer.from_pretrained(str(bert_folder))
    tokens, lengths = (torch.from_numpy(a) for a in encoder.prepare(TEXTS))
    output = encoder(tokens, lengths)
    for row, text in enumerate(TEXTS):
        states = model(**tokenizer(text, truncation=True, max_length=32, return_tensors="pt")).last_hidden_state[0]
        if pool == "tokens":
            torch.testing.assert_close(output[row, : len(states)], states, rtol=1e-4, atol=1e-5)
            assert not output[row, len(states) :].any()
        else:
            expected = states[0] if pool == "cls" else states.mean(dim=0)
            torch.testing.assert_close(output[row], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pool", ["cls", "mean", "tokens"])
def test_hf_text_never_reads_padding(bert_folder, pool):
    encoder = bert(bert_folder, pool=pool).eval()
    tokens, lengths = (torch.from_numpy(a) for a in encoder.prepare(TEXTS))
    spoiled = torch.where(torch.arange(32) < lengths[:, None], tokens, 7)
    assert torch.equal(encoder(tokens, lengths), encoder(spoiled, lengths))


def test_hf_text_tuned_learns(bert_folder):
    encoder = bert(bert_folder, frozen=False, pool="mean").train()
    tokens, lengths = (torch.from_numpy(a) for a in encoder.prepare(TEXTS))
    encoder(tokens, lengths).square().sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())
    assert not bert(bert_folder)(tokens, lengths).requires_grad


def test_hf_text_loads_the_weights_of_the_folder(bert_folder):
    encoder = bert(bert_folder)
    assert encoder.weights == "pretrained"
    assert encoder.output_dim == 16
    assert encoder.fingerprint() == bert(bert_folder).fingerprint()
    random = bert(bert_folder, pretrained=False)
    assert random.weights == "random"
    assert random.fingerprint() != encoder.fingerprint()
    assert random.fingerprint() == bert(bert_folder, pretrained=False).fingerprint()


def test_hf_text_without_weights_says_how_to_get_them_and_says_it_at_once():
    begin = time.monotonic()
    with pytest.raises(WeightsError) as caught:
        HfText(TEXT, revision="abc123")
    assert time.monotonic() - begin < 5
    for part in ("bert-base-uncased", "hf download bert-base-uncased --revision abc123", "path:", "pretrained: false"):
        assert part in str(caught.value)


def test_hf_text_names_what_is_missing_in_a_folder(bert_folder, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    with pytest.raises(WeightsError, match="no such folder"):
        HfText(TEXT, path=tmp_path / "nowhere")
    with pytest.raises(WeightsError, match=r"no config\.json"):
        HfText(TEXT, path=tmp_path)
    broken = tmp_path / "broken"
    shutil.copytree(bert_folder, broken)
    state = load_file(broken / "model.safetensors")
    del state["encoder.layer.0.output.dense.weight"]
    save_file(state, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=r"1 tensors are missing .*encoder\.layer\.0\.output\.dense\.weight"):
        HfText(TEXT, path=broken)
    (broken / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="cannot be loaded"):
        HfText(TEXT, path=broken)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pool": "max"}, "pool must be"),
        ({"max_length": 1}, "at least 2"),
        ({"max_length": 600}, "at most 512"),
    ],
)
def test_hf_text_explains_options_that_do_not_fit(bert_folder, options, message):
    with pytest.raises(ValueError, match=message):
        HfText(TEXT, path=bert_folder, **options)


# ---------------------------------------------------------------------------------------- registration


def test_every_file_registers_its_encoder_with_a_kind_it_accepts():
    import importlib

    found: dict[str, type] = {}
    for name in small_encoders():
        importlib.import_module(f"fusionbench_plugins.encoders.{name}").register_encoders(found.__setitem__)
    assert set(found) == set(small_encoders())
    assert all(issubclass(e, Encoder) and e.accepts <= {"series", "image", "text", "vector"} for e in found.values())
