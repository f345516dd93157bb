"""Counting multiply-adds, against counts made by hand."""

import pytest
import torch
from torch import Tensor, nn

from vidflow.models import build_model
from vidflow.models.flops import count_macs


class Tiny(nn.Module):
    """A clip model with every kind of layer that counts."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 4, 3, padding=1, groups=1)
        self.norm = nn.BatchNorm3d(4)
        self.parts = nn.ModuleList([nn.Linear(4, 6), nn.Linear(6, 6)])
        self.ln = nn.LayerNorm(6)

    def forward(self, batch) -> Tensor:
        x = self.norm(self.conv(batch.clips[:, 0]).relu()).flatten(2).transpose(1, 2)  # [1, 32, 4]
        for part in self.parts:
            x = part(x)
        x = self.ln(x)
        return nn.functional.scaled_dot_product_attention(x, x, x)


@pytest.fixture
def tiny():
    with torch.device("meta"):
        return Tiny()


def test_each_kind_of_layer_counts_as_it_should(tiny):
    count = count_macs(tiny, (3, 2, 4, 4))
    assert count.by_module["conv"] == 32 * 4 * 3 * 27
    assert count.by_module["norm"] == 2 * 32 * 4
    assert count.by_module["ln"] == 5 * 32 * 6
    attention = 2 * 32 * 32 * 6
    linear = 32 * (4 * 6 + 6 * 6)
    assert count.total == 32 * 4 * 3 * 27 + 2 * 32 * 4 + linear + 5 * 32 * 6 + attention


def test_a_list_of_modules_counts_what_its_modules_do(tiny):
    by_module = count_macs(tiny, (3, 2, 4, 4)).by_module
    assert by_module["parts"] == by_module["parts.0"] + by_module["parts.1"] == 32 * (4 * 6 + 6 * 6)


def test_a_resnet_counts_as_fvcore_does():
    with torch.device("meta"):
        model = build_model("tsn-r50", num_classes=400)
    count = count_macs(model, (3, 3, 224, 224))
    assert count.total / 1e9 == pytest.approx(12.329, abs=5e-4)
    stages = [f"backbone.layer{k}" for k in range(1, 5)]
    stem = count.by_module["backbone.conv1"] + count.by_module["backbone.bn1"]
    assert stem + sum(count.by_module[name] for name in stages) == count.by_module["backbone"]
    assert count.by_module["backbone"] + count.by_module["head"] == count.total


def test_views_that_a_model_does_not_take_are_refused():
    with torch.device("meta"):
        model = build_model("tin-r50", num_classes=4)
    with pytest.raises(ValueError, match="made for clips of 8 frames, not 4"):
        count_macs(model, (3, 4, 64, 64))
