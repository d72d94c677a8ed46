from __future__ import annotations

import copy

import pytest
import torch

from fusionbench.contract.learners import Encoder
from fusionbench_plugins.encoders.hashed_words import HashedWords
from fusionbench_plugins.encoders.hf_text import HfText
from fusionbench_plugins.encoders.image_grid import ImageGrid
from fusionbench_plugins.encoders.lstm import Lstm
from fusionbench_plugins.encoders.mlp import Mlp
from fusionbench_plugins.encoders.series_summary import SeriesSummary
from fusionbench_plugins.encoders.timm_image import TimmImage
from tests.plugins.encoders.small import IMAGE, SERIES, TEXT, TEXTS, VECTOR, bert, images, resnet, small_encoders

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
    rules = (other / "tokenizer.json").read_text(encoding="utf-8")
    (other / "tokenizer.json").write_text(rules.replace('"lungs"', '"heart"'), encoding="utf-8")
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


# ---------------------------------------------------------------------------------------- small ones


def test_encoders_that_read_arrays_refuse_text():
    with pytest.raises(TypeError, match="ImageGrid cannot read text"):
        ImageGrid(IMAGE).prepare(["words"])


# ---------------------------------------------------------------------------------------- timm_image


# ---------------------------------------------------------------------------------------- hf_text


# ---------------------------------------------------------------------------------------- registration


def test_every_file_registers_its_encoder_with_a_kind_it_accepts():
    import importlib

    found: dict[str, type] = {}
    for name in small_encoders():
        importlib.import_module(f"fusionbench_plugins.encoders.{name}").register_encoders(found.__setitem__)
    assert set(found) == set(small_encoders())
    assert all(issubclass(e, Encoder) and e.accepts <= {"series", "image", "text", "vector"} for e in found.values())
