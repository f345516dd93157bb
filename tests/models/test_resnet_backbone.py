"""ResNet's shapes, hooks, and what stays fixed in training."""

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from vidflow.models.backbones.resnet import RESNETS, ResNet, ResNetConfig

SMALL = ResNetConfig(block="bottleneck", blocks=(1, 2, 1, 1), width=8)


def norms(model):
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


def test_each_stage_halves_the_map_and_doubles_the_channels():
    shapes = [list(x.shape) for x in ResNet(SMALL).stages(torch.randn(2, 3, 64, 64), 2)]
    assert shapes == [[2, 32, 16, 16], [2, 64, 8, 8], [2, 128, 4, 4], [2, 256, 2, 2]]


def test_the_small_stem_keeps_a_finer_map():
    config = ResNetConfig(block="basic", blocks=(1, 1, 1, 1), width=8, stem="3x3")
    assert list(ResNet(config)(torch.randn(2, 3, 32, 32), 1).shape) == [2, 64, 2, 2]


def test_parameter_names_are_torchvisions():
    with torch.device("meta"):
        names = dict(ResNet(RESNETS["50"]).named_parameters())
    expected = [
        "conv1.weight",
        "bn1.bias",
        "layer1.0.conv3.weight",
        "layer1.0.downsample.0.weight",
        "layer1.0.downsample.1.bias",
        "layer4.2.bn3.weight",
    ]
    assert [name for name in expected if name not in names] == []


def test_a_bottleneck_strides_in_its_3x3():
    block = ResNet(SMALL).layer2[0]
    assert (block.conv1.stride, block.conv2.stride) == ((1, 1), (2, 2))


class Recorder(nn.Module):
    def __init__(self, place, seen):
        super().__init__()
        self.place, self.seen = place, seen

    def forward(self, x, num_frames):
        self.seen.append((*self.place, x.shape[1], num_frames))
        return x


def test_hooks_see_their_place_channels_and_the_number_of_frames():
    seen = []
    backbone = ResNet(
        SMALL,
        before_block=lambda stage, index, channels: Recorder(("before", stage, index, channels), seen),
        after_block=lambda stage, index, channels: (
            Recorder(("after", stage, index, channels), seen) if stage == 1 else None
        ),
    )
    backbone(torch.randn(4, 3, 32, 32), 2)
    assert [s for s in seen if s[1] == 1] == [
        ("before", 1, 0, 32, 32, 2), ("after", 1, 0, 64, 64, 2), ("before", 1, 1, 64, 64, 2), ("after", 1, 1, 64, 64, 2)
    ]  # fmt: skip
    assert [s[0] for s in seen].count("before") == 5


def test_the_shortcut_does_not_pass_the_hook_before_a_block():
    class Zero(nn.Module):
        def forward(self, x, num_frames):
            return torch.zeros_like(x)

    plain, hooked = ResNet(SMALL).eval(), ResNet(SMALL, before_block=lambda *_: Zero()).eval()
    hooked.load_state_dict(plain.state_dict())
    x = torch.randn(1, 8, 4, 4)
    block = hooked.layer1[0]
    torch.testing.assert_close(block(x, 1), (block.downsample(x) + block.residual(torch.zeros_like(x), 1)).relu())


@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
def test_the_hook_inside_a_block_sees_its_first_convolution(kind):
    class Times(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.channels = channels

        def forward(self, x, num_frames):
            assert x.shape[1] == self.channels
            return x * num_frames

    small = ResNetConfig(block=kind, blocks=(1, 1, 1, 1), width=8, stem="3x3")
    block = ResNet(small, inside_block=lambda stage, index, channels: Times(channels)).eval().layer2[0]
    x = torch.randn(2, block.conv1.in_channels, 4, 4)
    first = 3 * block.bn1(block.conv1(x)).relu()
    if kind == "basic":
        expected = block.bn2(block.conv2(first))
    else:
        expected = block.bn3(block.conv3(block.bn2(block.conv2(first)).relu()))
    torch.testing.assert_close(block.residual(x, 3), expected)


def test_frozen_stages_neither_learn_nor_count():
    backbone = ResNet(SMALL, frozen_stages=2).train()
    learning = {name.split(".")[0] for name, p in backbone.named_parameters() if p.requires_grad}
    assert learning == {"layer3", "layer4"}
    before = backbone.layer2[0].bn1.running_mean.clone(), backbone.layer3[0].bn1.running_mean.clone()
    backbone(torch.randn(4, 3, 32, 32), 1)
    torch.testing.assert_close(backbone.layer2[0].bn1.running_mean, before[0], rtol=0, atol=0)
    assert not torch.equal(backbone.layer3[0].bn1.running_mean, before[1])


def test_partial_bn_trains_the_first_norm_only():
    backbone = ResNet(SMALL, partial_bn=True).train()
    assert [norm.training for norm in norms(backbone)] == [True] + [False] * (len(norms(backbone)) - 1)
    fixed = {name for name, p in backbone.named_parameters() if not p.requires_grad}
    assert len(fixed) == 2 * (len(norms(backbone)) - 1)
    assert "bn1.weight" not in fixed
    assert not any(norm.training for norm in norms(backbone.eval()))


def test_norm_eval_keeps_statistics_but_weights_learn():
    backbone = ResNet(SMALL, norm_eval=True).train()
    assert not any(norm.training for norm in norms(backbone))
    assert all(p.requires_grad for p in backbone.parameters())


def test_convolutions_are_drawn_for_their_outputs():
    torch.manual_seed(0)
    weight = ResNet(RESNETS["18"]).layer3[1].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.01)


def test_groups_are_for_bottlenecks():
    with pytest.raises(ValueError, match="groups"):
        ResNetConfig(block="basic", blocks=(1, 1, 1, 1), groups=2)


def test_a_frozen_stage_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"frozen_stages \(5\)"):
        ResNet(SMALL, frozen_stages=5)
