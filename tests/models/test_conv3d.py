"""The quick paths of 3D convolutions: equal to torch's own in values and gradients, in either memory layout."""

import pytest
import torch
from torch import nn

from vidflow.models.layers.conv3d import Conv3d, is_channels_last, quick_layout

# Kernel, stride, padding, dilation and groups; those of one frame or of one pixel have paths of their own.
SETTINGS = {
    "1x3x3": ((1, 3, 3), 1, (0, 1, 1), 1, 1),
    "1x3x3 in steps": ((1, 3, 3), (1, 2, 2), (0, 1, 1), 1, 1),
    "1x3x3 with holes": ((1, 3, 3), 1, (0, 2, 2), (1, 2, 2), 1),
    "1x1x1": (1, 1, 0, 1, 1),
    "1x1x1 in groups": (1, 1, 0, 1, 2),
    "1x1x1 in steps of frames": (1, (2, 1, 1), 0, 1, 1),
    "1x1x1 with padded frames": (1, 1, (1, 0, 0), 1, 1),
    "3x1x1": ((3, 1, 1), 1, (1, 0, 0), 1, 1),
    "3x1x1 in steps": ((3, 1, 1), (2, 1, 1), (1, 0, 0), 1, 1),
    "3x1x1 with holes": ((3, 1, 1), 1, (2, 0, 0), (2, 1, 1), 1),
    "5x1x1 depthwise": ((5, 1, 1), 1, (2, 0, 0), 1, 4),
    "3x1x1 in steps of pixels": ((3, 1, 1), (1, 2, 2), (1, 0, 0), 1, 1),
    "3x3x3": (3, 1, 1, 1, 1),
    "3x3x3 depthwise": (3, (1, 2, 2), 1, 1, 4),
}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("setting", SETTINGS)
def test_values_and_gradients_are_those_of_torchs_convolution(setting, layout, bias):
    torch.manual_seed(0)
    kernel, stride, padding, dilation, groups = SETTINGS[setting]
    ours = Conv3d(4, 8, kernel, stride, padding, dilation, groups, bias=bias).double()
    theirs = nn.Conv3d(4, 8, kernel, stride, padding, dilation, groups, bias=bias).double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 4, 5, 6, 7, dtype=torch.float64)
    results = []
    for conv, clips in ((ours, x.contiguous(memory_format=layout)), (theirs, x)):
        clips = clips.requires_grad_()
        y = conv(clips)
        y.square().sum().backward()
        results.append([y.detach(), clips.grad, *(parameter.grad for parameter in conv.parameters())])
    for mine, other in zip(*results, strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_memory_layout_stays(setting):
    kernel, stride, padding, dilation, groups = SETTINGS[setting]
    conv = Conv3d(4, 8, kernel, stride, padding, dilation, groups)
    x = torch.randn(2, 4, 5, 6, 7)
    assert conv(x).is_contiguous()
    assert is_channels_last(conv(quick_layout(x)))


def test_one_channel_or_one_place_is_no_layout_of_its_own():
    assert not is_channels_last(torch.randn(2, 1, 3, 4, 4))
    assert not is_channels_last(torch.randn(2, 6, 1, 1, 1))
    assert is_channels_last(torch.randn(2, 3, 4, 4, 6).permute(0, 4, 1, 2, 3))


@pytest.mark.parametrize("options", [{"padding": (1, 0, 0), "padding_mode": "replicate"}, {"padding": "same"}])
def test_other_paddings_are_kept(options):
    torch.manual_seed(0)
    ours, theirs = Conv3d(2, 2, (3, 1, 1), **options), nn.Conv3d(2, 2, (3, 1, 1), **options)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(1, 2, 4, 3, 3)
    torch.testing.assert_close(ours(x), theirs(x))
    ours.padding, ours.padding_mode = (0, 0, 0), "zeros"
    assert ours(x).shape != theirs(x).shape
