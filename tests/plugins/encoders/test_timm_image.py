"""The encoder ``timm_image``."""

from __future__ import annotations

import pytest
import torch

from fusionbench.errors import WeightsError
from fusionbench_plugins.encoders.hf_text import HfText
from fusionbench_plugins.encoders.timm_image import TimmImage
from tests.plugins.encoders.small import IMAGE, TEXT, images, resnet
from tests.plugins.encoders.test_encoders import random_resnet


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


def test_timm_image_without_weights_says_how_to_get_them_and_says_it_at_once(waits):
    with pytest.raises(WeightsError) as caught:
        TimmImage(IMAGE, model="test_resnet")
    assert waits == []
    for part in (
        "timm/test_resnet.r160_in1k",
        "HF_HUB_OFFLINE",
        "$HF_HOME",
        "hf download",
        "path:",
        "pretrained: false",
    ):
        assert part in str(caught.value)


def test_without_a_network_the_answer_comes_at_once(monkeypatch, waits):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match="the hub did not help"):
        TimmImage(IMAGE, model="test_resnet")
    with pytest.raises(WeightsError, match="the hub did not help"):
        HfText(TEXT)
    assert sum(waits) < 10


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


@pytest.mark.parametrize("name", ["features_only", "num_classes", "checkpoint_path", "in_chans"])
def test_arguments_that_are_not_the_networks_are_refused_with_the_reason(name):
    with pytest.raises(ValueError, match=f"leave out '{name}': "):
        TimmImage(IMAGE, model="test_resnet", pretrained=False, size=32, model_args={name: True})


@pytest.mark.parametrize("arguments", [{"nonsense": 1}, {"global_pool": True}])
def test_arguments_that_the_network_does_not_take_are_one_sentence(arguments):
    with pytest.raises(ValueError, match="does not take these options"):
        TimmImage(IMAGE, model="test_resnet", pretrained=False, size=32, model_args=arguments)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 10**12}, "size must be a whole number from 1 to 4,096"),
        ({"size": 0}, "size must be"),
        ({"channels": 10**9}, "channels must be"),
        ({"std": [1, 0, 1]}, "must be above 0"),
        ({"model": "timm/test_resnet"}, "write 'model: test_resnet'"),
        ({"model": "hf-hub:timm/test_resnet"}, "without 'hf-hub:': write 'model: test_resnet'"),
    ],
)
def test_numbers_and_names_have_bounds(options, said):
    with pytest.raises(ValueError, match=said):
        TimmImage(IMAGE, **{"model": "test_resnet", "pretrained": False, "size": 32, **options})


@pytest.mark.parametrize("name", ["model.safetensors", "weights.pth", "weights.bin"])
@pytest.mark.parametrize("whole_folder", [True, False])
def test_a_pointer_in_place_of_the_weights_is_named(tmp_path, name, whole_folder):
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", encoding="utf-8")
    with pytest.raises(WeightsError, match=f"'{name}' is a Git-LFS pointer"):
        TimmImage(IMAGE, model="test_resnet", size=32, path=tmp_path if whole_folder else tmp_path / name)


@pytest.mark.parametrize("frozen", [True, False])
def test_weights_that_are_all_zero_see_nothing(resnet_folder, tmp_path, frozen):
    from safetensors.torch import load_file, save_file

    state = load_file(resnet_folder / "model.safetensors")
    save_file({k: v * 0 for k, v in state.items()}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="two different pictures one embedding"):
        resnet(tmp_path, frozen=frozen)
