"""The encoder ``hf_text``."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fusionbench.errors import WeightsError
from fusionbench_plugins.encoders.hf_text import HfText
from tests.plugins.encoders.small import TEXT, TEXTS, bert


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
