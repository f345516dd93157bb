"""The options of the 3D ResNet: which kernels span time, where frames are halved, what is refused."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from vidflow.models import build_model
from vidflow.models.backbones.resnet import ResNet, ResNetConfig
from vidflow.models.backbones.resnet3d import ResNet3D, ResNet3DConfig
from vidflow.models.layers.factored_conv import FactoredConv3d
from vidflow.models.layers.still import StillBatchNorm3d, StillConv3d
from vidflow.models.weights.inflation import inflate

SMALL = ResNet3DConfig(block="bottleneck", blocks=(1, 2, 1, 1), width=8, stem_kernel=(1, 7))


def kernels(model, name):
    return [conv.kernel_size for conv in model.get_submodule(name).modules() if isinstance(conv, nn.Conv3d)]


def test_each_block_spans_time_as_its_pattern_says():
    model = ResNet3D(replace(SMALL, inflated=(False, (True, False), True, False)))
    spans = [
        [model.stage(stage)[index].conv1.kernel_size[0] for index in range(len(model.stage(stage)))]
        for stage in (1, 2, 3, 4)
    ]
    assert spans == [[1], [3, 1], [3], [1]]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("3x1x1", [(3, 1, 1), (1, 3, 3), (1, 1, 1)]),
        ("3x3x3", [(1, 1, 1), (3, 3, 3), (1, 1, 1)]),
        ("ir", [(1, 1, 1), (3, 3, 3), (1, 1, 1)]),
        ("ip", [(1, 1, 1), (1, 1, 1), (3, 3, 3), (1, 1, 1)]),
    ],
)
def test_kernels_are_those_of_their_kind(kind, expected):
    model = ResNet3D(replace(SMALL, kernels=kind))
    assert kernels(model, "layer2.1") == expected
    depthwise = [m for m in model.layer2[1].conv2.modules() if isinstance(m, nn.Conv3d)][-1]
    assert depthwise.groups == (depthwise.in_channels if kind in ("ir", "ip") else 1)


@pytest.mark.parametrize(
    ("options", "frames"),
    [
        ({}, [8, 8, 8, 8]),
        ({"stem_stride": (2, 2)}, [4, 4, 4, 4]),
        ({"pool_stride": (2, 2)}, [4, 4, 4, 4]),
        ({"second_pool": True}, [4, 4, 4, 4]),
        ({"frame_strides": (1, 2, 2, 2)}, [8, 4, 2, 1]),
    ],
)
def test_frames_are_halved_where_the_options_say_so(options, frames):
    stages = ResNet3D(replace(SMALL, **options)).stages(torch.randn(1, 3, 8, 64, 64))
    assert [stage.shape[2] for stage in stages] == frames
    assert [list(stage.shape[3:]) for stage in stages] == [[16, 16], [8, 8], [4, 4], [2, 2]]


def test_fewer_stages_and_strides_make_a_network_of_small_maps():
    config = replace(
        SMALL,
        blocks=(1, 1, 1),
        inflated=(False, True, True),
        frame_strides=(1, 1, 2),
        pixel_strides=(2, 2, 2),
        non_local_blocks=(False,) * 3,
        lateral_channels=(0,) * 3,
        stem_stride=(1, 1),
        pool_stride=(1, 1),
    )
    model = ResNet3D(config, in_channels=17, frozen_stages=3)
    assert list(model(torch.randn(1, 17, 4, 32, 32)).shape) == [1, 128, 2, 4, 4]
    with pytest.raises(ValueError, match=r"frozen_stages \(4\) must lie in \[-1, 3\]"):
        ResNet3D(config, frozen_stages=4)


def test_factored_convolutions_have_about_as_many_weights():
    whole = nn.Conv3d(64, 128, 3, bias=False).weight.numel()
    factored = FactoredConv3d(64, 128, (3, 3), (1, 1))
    count = factored.spatial.weight.numel() + factored.temporal.weight.numel()
    assert 0.99 * whole < count <= whole
    assert list(FactoredConv3d(4, 8, (3, 3), (2, 2))(torch.randn(1, 4, 4, 6, 6)).shape) == [1, 8, 2, 3, 3]


def test_a_still_picture_gives_what_the_network_of_images_gives():
    torch.manual_seed(0)
    image = ResNet(ResNetConfig(block="bottleneck", blocks=(1, 2, 1, 1), width=8)).double().eval()
    for name, buffer in image.named_buffers():
        if "running" in name:
            buffer.uniform_(0.5, 1.5)
    clip = ResNet3D(replace(SMALL, still=True)).double().eval()
    clip.load_state_dict(inflate(image.state_dict(), clip.state_dict()))
    pictures = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    torch.testing.assert_close(clip(pictures[:, :, None])[:, :, 0], image(pictures, 1))


def test_a_still_layer_on_several_frames_is_the_plain_one():
    conv, plain = (
        StillConv3d(4, 6, (3, 1, 1), padding=(1, 0, 0), bias=False),
        nn.Conv3d(4, 6, (3, 1, 1), padding=(1, 0, 0), bias=False),
    )
    plain.load_state_dict(conv.state_dict())
    x = torch.randn(2, 4, 3, 5, 5)
    torch.testing.assert_close(conv(x), plain(x))
    norm, plain_norm = StillBatchNorm3d(4).train(), nn.BatchNorm3d(4).train()
    torch.testing.assert_close(norm(x), plain_norm(x))
    torch.testing.assert_close(norm.running_mean, plain_norm.running_mean)
    norm(x[:, :, :1])
    torch.testing.assert_close(norm.running_mean, plain_norm.running_mean)


def test_blocks_start_as_their_shortcut_where_asked():
    for name, zero in (("slowonly-tiny", True), ("i3d-tiny", False), ("x3d-tiny", True)):
        weight = build_model(name, num_classes=2).backbone.layer1[0].bn3.weight
        assert bool((weight == 0).all()) == zero, name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block": "basic"}, r"kernels \('3x1x1'\) are for bottlenecks"),
        ({"inflated": (True, True)}, r"inflated .* must have a value for each of 4 stages"),
        ({"inflated": (True, (True,), True, True)}, r"inflated\[1\] .* for each of 2 blocks"),
        ({"non_local_blocks": (True, True, True, (False, True))}, r"non_local_blocks\[3\] .* for each of 1 blocks"),
        ({"non_local_blocks": (False, True, False, False)}, "non_local_blocks need a mode"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **options)
