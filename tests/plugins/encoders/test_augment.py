"""MedFuse's transforms: each part is what its name says, and nothing depends on who is trained beside."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from fusionbench import InputSpec
from fusionbench_plugins.encoders._augment import Geometry, MedFusePictures, centre, framed, geometry_of, transformed
from fusionbench_plugins.encoders.timm_image import TimmImage

PICTURES = torch.rand(3, 1, 20, 20, generator=torch.Generator().manual_seed(0))


def geometry(rows=3, **changes):
    plain = {"mirror": 1.0, "angle": 0.0, "scale": 1.0, "right": 0.0, "down": 0.0}
    return Geometry(**{n: torch.full((rows,), v) for n, v in {**plain, **changes}.items()})


@pytest.mark.parametrize(("shape", "size"), [((20, 20), 20), ((20, 20), 16), ((22, 30), 16), ((31, 21), 15)])
def test_with_identity_parameters_the_picture_is_the_plain_centre(shape, size):
    pictures = torch.rand(3, 1, *shape)
    assert_close(transformed(pictures, geometry(), size), centre(pictures, size), rtol=0, atol=1e-5)


def test_a_flip_mirrors_left_and_right():
    assert_close(transformed(PICTURES, geometry(mirror=-1.0), 20), PICTURES.flip(-1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("quarters", [-1, 1, 2])
def test_a_right_angle_turns_clockwise(quarters):
    turned = transformed(PICTURES, geometry(angle=quarters * math.pi / 2), 20)
    assert_close(turned, PICTURES.rot90(-quarters, (-2, -1)), rtol=0, atol=1e-4)


def test_the_flip_comes_before_the_turn():
    both = transformed(PICTURES, geometry(mirror=-1.0, angle=math.pi / 2), 20)
    assert_close(both, PICTURES.flip(-1).rot90(-1, (-2, -1)), rtol=0, atol=1e-4)


def test_a_shift_is_a_share_of_the_side_and_leaves_black_behind():
    moved = transformed(PICTURES, geometry(right=0.1, down=-0.2), 20)  # 2 pixels to the right, 4 up
    assert_close(moved[..., :16, 2:], PICTURES[..., 4:, :18], rtol=0, atol=1e-5)
    assert moved[..., 16:, :].abs().max() < 1e-5
    assert moved[..., :2].abs().max() < 1e-5


def test_a_scale_above_one_enlarges():
    square = torch.zeros(1, 1, 20, 20)
    square[..., 5:15, 5:15] = 1
    areas = [float(transformed(square, geometry(1, scale=s), 20).sum()) for s in (1.0, 1.15, 0.85)]
    assert areas == pytest.approx([100, 115 * 1.15, 85 * 0.85], rel=0.03)


def test_every_picture_has_its_own_geometry():
    drawn = geometry_of(torch.rand(3, 5))
    together = transformed(PICTURES, drawn, 16)
    alone = [transformed(PICTURES[i : i + 1], Geometry(*(g[i : i + 1] for g in drawn)), 16) for i in range(3)]
    assert torch.equal(together, torch.cat(alone))


def test_parameters_have_the_ranges_and_means_of_the_paper():
    found = geometry_of(MedFusePictures(224).draw(20_000, torch.Generator().manual_seed(0)))
    assert float((found.mirror == -1).float().mean()) == pytest.approx(0.5, abs=0.02)
    limits = {
        "angle": (-math.pi / 4, math.pi / 4),
        "scale": (0.85, 1.15),
        "right": (-0.15, 0.15),
        "down": (-0.15, 0.15),
    }
    for name, (low, high) in limits.items():
        values = getattr(found, name)
        assert low <= float(values.min()) < low + 0.01 * (high - low), name
        assert high >= float(values.max()) > high - 0.01 * (high - low), name
        assert float(values.mean()) == pytest.approx((low + high) / 2, abs=0.02 * (high - low)), name
        assert float(values.std()) == pytest.approx((high - low) / math.sqrt(12), rel=0.02), name
    correlations = torch.corrcoef(torch.stack(found)) - torch.eye(5)
    assert float(correlations.abs().max()) < 0.03


def test_pictures_are_framed_as_256_to_224_with_an_even_margin():
    assert framed(512, 512, 224) == (256, 256)
    assert framed(620, 512, 224) == (310, 256)
    for size in (15, 32, 64, 96, 224):
        height, width = framed(77, 50, size)
        assert ((height - size) % 2, (width - size) % 2) == (0, 0)
        assert width / size == pytest.approx(8 / 7, abs=1 / size)
        assert height / width == pytest.approx(77 / 50, abs=2 / size)


def test_evaluation_does_not_look_at_the_draw():
    pictures = MedFusePictures(14)
    plain = pictures(PICTURES)  # nothing drawn yet
    pictures.noise = pictures.draw(3, torch.Generator().manual_seed(1))
    assert not torch.equal(pictures(PICTURES), plain)
    assert torch.equal(pictures.eval()(PICTURES), plain)
    assert plain.shape == (3, 1, 14, 14)


def test_a_black_picture_stays_black():
    pictures = MedFusePictures(14)
    pictures.noise = pictures.draw(3, torch.Generator().manual_seed(1))
    assert not pictures(torch.zeros(3, 1, 20, 20)).any()


# ---------------------------------------------------------------------------------------- in the encoder


def resnet(**options):
    torch.manual_seed(0)
    spec = InputSpec("image", (20, 24))
    return TimmImage(spec, **{"model": "test_resnet", "pretrained": False, "size": 32, "frozen": False, **options})


def grey(rows=3):
    return torch.randint(0, 256, (rows, 20, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_a_tuned_encoder_sees_other_pictures_in_training_and_the_same_in_evaluation():
    encoder = resnet(augment="medfuse").eval()
    plain = encoder(grey())
    encoder.train()
    encoder.pictures.noise = encoder.pictures.draw(3, torch.Generator().manual_seed(0))
    augmented = encoder(grey())
    assert float((augmented - plain).detach().abs().max()) > 1e-3
    assert torch.equal(encoder(grey()), augmented)
    assert torch.equal(encoder.eval()(grey()), plain)


def test_geometry_keeps_its_precision_where_products_are_made_in_bfloat16():
    encoder = resnet(augment="medfuse")
    encoder.pictures.noise = encoder.pictures.draw(3, torch.Generator().manual_seed(0))
    pictures = grey()[:, None].float() / 255
    with torch.autocast("cpu", torch.bfloat16):
        found = encoder.pictures(pictures)
    assert found.dtype == torch.float32
    assert torch.equal(found, encoder.pictures(pictures))


def test_without_augmentation_nothing_is_drawn_and_the_state_has_the_names_it_had():
    assert not [n for n, _ in resnet().named_buffers() if n.endswith("noise")]
    assert resnet().state_dict().keys() == resnet(augment="medfuse").state_dict().keys()


def test_augmentation_of_a_frozen_encoder_is_refused():
    with pytest.raises(ValueError, match="frozen: false"):
        resnet(augment="medfuse", frozen=True)
    with pytest.raises(ValueError, match="'none' or 'medfuse', found 'flip'"):
        resnet(augment="flip")


# ---------------------------------------------------------------------------------------- memory format


def embeddings_and_gradients(encoder):
    found = encoder(grey())
    return found, torch.autograd.grad(found.square().sum(), list(encoder.parameters()))


@pytest.mark.parametrize("augment", ["none", "medfuse"])
def test_channels_last_gives_the_same_embeddings_and_gradients(augment):
    wanted = embeddings_and_gradients(resnet(augment=augment, channels_last=False).double())
    found = embeddings_and_gradients(resnet(augment=augment, channels_last=True).double())
    assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def formats_seen(encoder):
    """For each convolution of more than one pixel: whether its input came channels last."""
    seen = []

    def look(_, inputs):
        if inputs[0].shape[-1] > 1:
            seen.append(inputs[0].is_contiguous(memory_format=torch.channels_last))

    for module in encoder.backbone.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_pre_hook(look)
    encoder(grey())
    return seen


def test_channels_last_reaches_every_convolution_of_a_tuned_network():
    seen = formats_seen(resnet(channels_last=True))
    assert len(seen) > 3
    assert all(seen)


@pytest.mark.parametrize("options", [{}, {"channels_last": False}, {"channels_last": True, "frozen": True}])
def test_on_a_cpu_and_for_frozen_networks_the_format_stays_as_it_is(options):
    assert not any(formats_seen(resnet(**options)))


def test_a_network_without_a_stack_of_convolutions_is_left_alone():
    encoder = resnet(model="test_vit", size=64, model_args={"img_size": 64}, channels_last=True)
    assert formats_seen(encoder) == [False]


# ---------------------------------------------------------------------------------------- pictures that are too small


def test_tuning_at_a_size_where_weights_meet_only_padding_is_refused():
    with pytest.raises(ValueError, match=r"16 x 16 pixels.*'layer4\.0\.conv1'.*larger 'size'"):
        resnet(size=16)
    assert resnet(size=16, frozen=True).output_dim == resnet(size=20).output_dim


def test_at_the_smallest_accepted_size_bfloat16_gradients_are_finite_and_repeatable():
    encoder = resnet(size=20)
    found = []
    for _ in range(4):
        spoilt = [torch.full((n,), torch.nan) for n in (1_000, 100_000, 400_000)]  # memory that is used again
        del spoilt
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
            loss = encoder(grey()).float().square().sum()
        found.append(torch.autograd.grad(loss, list(encoder.parameters())))
    assert all(bool(torch.isfinite(g).all()) for g in found[0])
    assert all(torch.equal(g, first) for again in found[1:] for g, first in zip(again, found[0], strict=True))
