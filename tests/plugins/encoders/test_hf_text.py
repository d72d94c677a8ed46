"""The encoder ``hf_text``."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from fusionbench.errors import WeightsError
from fusionbench_plugins.encoders.hf_text import HfText
from tests.plugins.encoders.models import write_model
from tests.plugins.encoders.small import TEXT, TEXTS, bert
from tests.shared import shared_folder


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


def test_hf_text_without_weights_says_how_to_get_them_and_says_it_at_once(waits):
    with pytest.raises(WeightsError) as caught:
        HfText(TEXT, revision="abc123")
    assert waits == []
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


# ---------------------------------------------------------------- an encoder that reads nothing, or not what was meant


def test_a_decoder_under_cls_is_refused_and_read_under_mean():
    folder = shared_folder("faults", "18")
    with pytest.raises(ValueError, match=r"one embedding under 'pool: cls'.*choose 'pool: mean'"):
        HfText(TEXT, path=folder)
    assert HfText(TEXT, path=folder, pool="mean").output_dim == 16


@pytest.mark.parametrize(("kind", "frozen"), [("Llama", True), ("GPT2", False)])
def test_other_decoders_are_refused_too_tuned_or_not(tmp_path, kind, frozen):
    own = {"n_embd": 16, "n_layer": 1, "n_head": 2} if kind == "GPT2" else {}
    folder = write_model(tmp_path, kind, **own)
    with pytest.raises(ValueError, match="reads from left to right"):
        HfText(TEXT, path=folder, frozen=frozen)
    assert HfText(TEXT, path=folder, frozen=frozen, pool="tokens").output_dim == 16


@pytest.mark.parametrize("pretrained", [True, False])
def test_a_tokeniser_without_files_knows_no_word_and_is_refused(tmp_path, pretrained):
    folder = write_model(tmp_path, "Bert", tokeniser=False)
    with pytest.raises(WeightsError, match="the tokeniser's files are not there: every word would be unknown"):
        HfText(TEXT, path=folder, pretrained=pretrained)


def test_texts_of_unknown_words_only_are_refused_and_a_few_are_not(tmp_path):
    encoder = HfText(TEXT, path=write_model(tmp_path, "Bert"))
    with pytest.raises(WeightsError, match="4 of the 4 word pieces of the texts are unknown"):
        encoder.prepare(["das Herz", "die Lunge"])
    assert encoder.prepare(["das heart", "die lungs", ""])[1].tolist() == [4, 4, 2]
    assert encoder.prepare([""])[1].tolist() == [2]


def test_weights_that_are_all_zero_read_nothing(tmp_path):
    from safetensors.torch import load_file, save_file

    file = write_model(tmp_path, "Bert") / "model.safetensors"
    save_file({k: v * 0 for k, v in load_file(file).items()}, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="It reads nothing of them"):
        HfText(TEXT, path=tmp_path, pool="mean")
    save_file({k: v / 0 for k, v in load_file(file).items()}, file, metadata={"format": "pt"})
    with pytest.raises(WeightsError, match="NaN or infinity"):
        HfText(TEXT, path=tmp_path)


def test_roberta_reads_two_word_pieces_fewer_than_it_has_positions(tmp_path):
    folder = write_model(tmp_path, "Roberta", max_position_embeddings=34)
    assert HfText(TEXT, path=folder, max_length=32).output_dim == 16
    for length in (33, 34, 35, 600):
        with pytest.raises(ValueError, match=f"max_length is {length}, but the model reads at most 32 word pieces"):
            HfText(TEXT, path=folder, max_length=length)
    with pytest.raises(ValueError, match="at most 131,072"):
        HfText(TEXT, pretrained=False, max_length=10**12)


def test_a_tokeniser_with_more_words_than_the_model_is_refused(tmp_path):
    folder = write_model(tmp_path, "Bert", vocab_size=9)
    with pytest.raises(WeightsError, match="has 15 word pieces and the model embeddings for 9"):
        HfText(TEXT, path=folder)


@pytest.mark.parametrize("kind", ["T5", "Bart"])
def test_encoder_decoder_models_are_named_as_such(tmp_path, kind):
    own = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    if kind == "Bart":
        own = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8}
    with pytest.raises(ValueError, match="is an encoder-decoder model"):
        HfText(TEXT, path=write_model(tmp_path, kind, **own))


def test_a_model_of_pictures_is_no_encoder_of_texts(tmp_path):
    with pytest.raises(ValueError, match="cannot read texts"):
        HfText(TEXT, path=write_model(tmp_path, "ViT"))


def test_a_pointer_in_place_of_the_weights_is_named():
    with pytest.raises(WeightsError, match=r"'model\.safetensors' is a Git-LFS pointer"):
        HfText(TEXT, path=shared_folder("faults", "19"))


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json", "pytorch_model.bin"])
def test_a_pointer_in_place_of_any_file_is_named(tmp_path, name):
    folder = write_model(tmp_path, "Bert")
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", encoding="utf-8")
    with pytest.raises(WeightsError, match=f"'{name}' is a Git-LFS pointer"):
        HfText(TEXT, path=folder)


@pytest.mark.parametrize(("content", "said"), [(b"", "is empty"), (b"<!DOCTYPE html><html>", "is a web page")])
def test_other_files_that_stand_for_the_weights_are_named(tmp_path, content, said):
    folder = write_model(tmp_path, "Bert")
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=f"'model.safetensors' {said}"):
        HfText(TEXT, path=folder)


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json", "model.safetensors"])
@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe\x00"])
def test_damaged_files_are_one_sentence(tmp_path, name, content):
    folder = write_model(tmp_path, "Bert")
    (folder / name).write_bytes(content)
    with pytest.raises(WeightsError, match=r"cannot be loaded: \w+: "):
        HfText(TEXT, path=folder)


@pytest.mark.parametrize("pretrained", [True, False])
def test_code_beside_the_weights_is_never_run_and_nobody_is_asked(tmp_path, monkeypatch, pretrained):
    def asked(*_):
        raise AssertionError("the library asked")

    monkeypatch.setattr("builtins.input", asked)
    folder = write_model(tmp_path, "Bert")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    own = {"AutoConfig": "own.C", "AutoModel": "own.M", "AutoTokenizer": ["own.T", None]}
    changed = json.dumps({**config, "model_type": "own", "auto_map": own})
    (folder / "config.json").write_text(changed, encoding="utf-8")
    (folder / "own.py").write_text("raise SystemExit('ran')", encoding="utf-8")
    with pytest.raises(WeightsError, match="comes with code of its own, which is not run"):
        HfText(TEXT, path=folder, pretrained=pretrained)


@pytest.mark.parametrize(
    ("name", "bare"),
    [
        ("https://huggingface.co/google/bert/tree/main", "google/bert"),
        ("hf.co/bert-base-uncased", "bert-base-uncased"),
        ("models--google--bert", "google/bert"),
    ],
)
def test_the_hubs_address_is_no_part_of_a_name(name, bare):
    with pytest.raises(ValueError, match=f"write 'model: {bare}'"):
        HfText(TEXT, model=name)


# ---------------------------------------------------------------- long texts

LONG = "clear lungs . no edema , right effusion " * 40  # far more than the model reads at once


def pooled_by_hand(encoder, text, width, stride):
    """The mean over all pieces, with states by the library and each piece's share counted one by one."""
    (whole,) = encoder.tokenizer([text], truncation=False)["input_ids"]
    own, room = whole[1:-1], width - 2
    starts = [0]
    while starts[-1] + room < len(own):
        starts.append(starts[-1] + stride)
    held = [sum(s <= t < s + room for s in starts) for t in range(len(own))]
    total = 0
    for s in starts:
        part = own[s : s + room]
        ids = torch.tensor([[whole[0], *part, whole[-1]]])
        states = encoder.backbone(input_ids=ids).last_hidden_state[0]
        total = total + (states[0] + states[-1]) / len(starts)
        total = total + sum(state / held[s + i] for i, state in enumerate(states[1:-1]))
    return total / len(whole)


@pytest.mark.parametrize("stride", [30, 16, None])
def test_windows_read_all_of_a_long_text(bert_folder, stride):
    encoder = HfText(TEXT, path=bert_folder, max_length=1200, pool="mean", window=32, stride=stride).eval()
    tokens, lengths = (torch.from_numpy(a) for a in encoder.prepare([LONG, "clear lungs", "", LONG[:300]]))
    found = encoder(tokens, lengths)
    for row, text in zip(found, [LONG, "clear lungs", "", LONG[:300]], strict=True):
        torch.testing.assert_close(row, pooled_by_hand(encoder, text, 32, stride or 16), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found[0], found[3], atol=1e-4)


def test_short_texts_have_the_mean_that_they_have_without_windows(bert_folder):
    plain, windowed = (
        bert(bert_folder, pool="mean"),
        HfText(TEXT, path=bert_folder, max_length=400, pool="mean", window=32),
    )
    short = TEXTS[:3]
    before = plain.eval()(*(torch.from_numpy(a) for a in plain.prepare(short)))
    alone = windowed.eval()(*(torch.from_numpy(a) for a in windowed.prepare(short)))
    beside_a_long_one = windowed(*(torch.from_numpy(a) for a in windowed.prepare([*short, LONG])))[:3]
    torch.testing.assert_close(alone, before, rtol=0, atol=1e-6)
    torch.testing.assert_close(beside_a_long_one, before, rtol=0, atol=1e-6)


def test_padding_changes_no_window(bert_folder):
    encoder = HfText(TEXT, path=bert_folder, max_length=300, pool="mean", window=32).eval()
    tokens, lengths = (torch.from_numpy(a) for a in encoder.prepare([LONG[:500], "edema"]))
    spoiled = torch.where(torch.arange(300) < lengths[:, None], tokens, 7)
    assert torch.equal(encoder(tokens, lengths), encoder(spoiled, lengths))


def test_windows_can_be_tuned_and_are_part_of_the_fingerprint(bert_folder):
    encoder = HfText(TEXT, path=bert_folder, max_length=300, pool="mean", window=32, frozen=False).train()
    encoder(*(torch.from_numpy(a) for a in encoder.prepare([LONG, "edema"]))).square().sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())
    made = [HfText(TEXT, path=bert_folder, max_length=300, pool="mean", window=32, stride=s) for s in (None, 16, 8)]
    assert made[0].fingerprint() == made[1].fingerprint() != made[2].fingerprint()


def test_windows_without_a_tokeniser_and_of_chinese_characters(tmp_path):
    hashed = HfText(TEXT, pretrained=False, max_length=200, pool="mean", window=16).eval()
    tokens, lengths = (torch.from_numpy(a) for a in hashed.prepare(["word " * 90, "word"]))
    assert torch.isfinite(hashed(tokens, lengths)).all()
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder, letters = tmp_path / "chinese", list(dict.fromkeys("右肺上叶见结节。"))
    folder.mkdir()
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    BertTokenizerFast.from_pretrained(str(folder)).save_pretrained(str(folder))
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(vocabulary), **small)).save_pretrained(str(folder))
    encoder = HfText(TEXT, path=folder, max_length=400, pool="mean", window=32).eval()
    report = "右肺上叶见结节。" * 30
    tokens, lengths = (torch.from_numpy(a) for a in encoder.prepare([report]))
    assert int(lengths[0]) == 8 * 30 + 2  # a word piece for each character
    torch.testing.assert_close(
        encoder(tokens, lengths)[0], pooled_by_hand(encoder, report, 32, 16), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 32}, "window needs pool: mean"),
        ({"pool": "mean", "window": 4000, "max_length": 9000}, "window is 4000, but the model reads at most"),
        ({"pool": "mean", "window": 32, "stride": 31}, "stride is 31, and a window of 32 word pieces has room for 30"),
        ({"pool": "mean", "stride": 8}, "stride is given without window"),
    ],
)
def test_windows_that_do_not_fit_are_explained(bert_folder, options, message):
    with pytest.raises(ValueError, match=message):
        HfText(TEXT, path=bert_folder, **{"max_length": 300, **options})


def test_it_says_how_many_texts_are_cut_and_by_how_much(bert_folder):
    encoder = bert(bert_folder)
    pieces = len(encoder.tokenizer(LONG)["input_ids"])
    (said,) = encoder.remarks([LONG, "edema", "", LONG, "clear lungs " * 40])
    lost = 100 * (1 - 32 / pieces)
    assert said.startswith("3 of 4 texts are longer than max_length (32 word pieces) and are cut: half of these lose ")
    assert f"{lost:.0f} % or more" in said
    assert "clear" not in said
    assert encoder.remarks(["edema", ""]) == []
    whole = HfText(TEXT, path=bert_folder, max_length=pieces, pool="mean", window=32)
    assert whole.remarks([LONG]) == []
