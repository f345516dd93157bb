"""Video Swin's windows: relative positions and masks, against the definition; loading of image weights."""

import itertools

import pytest
import torch

from vidflow.models import build_model
from vidflow.models.backbones.swin3d import SWINS, Block, PatchMerging, relative_positions, window_groups
from vidflow.models.swin import repeat_table
from vidflow.models.weights import load_weights


def test_relative_positions_count_offsets_with_time_first():
    rows = relative_positions((2, 2, 2), (2, 2, 2))
    assert rows.shape == (8, 8)
    assert (rows.diagonal() == 13).all()  # offset 0 of 27
    assert rows[0, 7] == 0
    assert rows[7, 0] == 26
    assert rows[4, 0] == 13 + 9  # one step in time
    assert rows[1, 0] == 13 + 1  # one step along the width


def test_a_smaller_window_uses_the_same_offsets():
    whole, part = relative_positions((8, 7, 7), (8, 7, 7)), relative_positions((4, 7, 7), (8, 7, 7))
    assert (part == whole[: 4 * 49, : 4 * 49]).all()


@pytest.mark.parametrize("shift", [(1, 2, 2), (0, 2, 2), (0, 0, 1), (1, 0, 0)])
def test_only_neighbours_before_the_roll_see_each_other(shift):
    size, grid = (2, 4, 4), (2, 3, 2)
    extent = [n * s for n, s in zip(grid, size, strict=True)]
    # Where each token of the rolled grid lay before, cut into windows.
    places = torch.tensor(list(itertools.product(*map(range, extent)))).view(*extent, 3)
    places = places.roll([-s for s in shift], dims=(0, 1, 2))
    seen = set()
    for numbers, together in window_groups(grid, size, shift):
        for number in numbers.tolist():
            t, h, w = number // 6, number // 2 % 3, number % 2
            own = places[t * 2 : t * 2 + 2, h * 4 : h * 4 + 4, w * 4 : w * 4 + 4].reshape(-1, 3)
            near = ((own[:, None] - own[None]).abs() < torch.tensor(size)).all(dim=2)
            assert near.all() if together is None else (near.numpy() == together).all()
            seen.add(number)
    assert seen == set(range(12))


@torch.inference_mode()
@pytest.mark.parametrize("extent", [(3, 5, 6), (4, 8, 8), (9, 4, 11)])
def test_a_shifted_block_equals_attention_under_a_full_mask(extent):
    """All tokens at once, with a mask that lets those of one rolled window see each other, and zeros of the padding."""
    torch.manual_seed(0)
    window = (4, 4, 4)
    block = Block(8, 2, window, shifted=True, drop_path=0.0).double().eval()
    torch.nn.init.normal_(block.attn.relative_position_bias_table)
    x = torch.randn(1, *extent, 8, dtype=torch.float64)
    size = [min(n, w) for n, w in zip(extent, window, strict=True)]
    shift = [w // 2 if n > w else 0 for n, w in zip(extent, window, strict=True)]
    padded = [-(-n // s) * s for n, s in zip(extent, size, strict=True)]
    places = torch.tensor(list(itertools.product(*map(range, padded))))
    rolled = (places - torch.tensor(shift)) % torch.tensor(padded)
    same = (rolled[:, None] // torch.tensor(size) == rolled[None] // torch.tensor(size)).all(dim=2)
    same &= ((places[:, None] - places[None]).abs() < torch.tensor(size)).all(dim=2)
    offsets = (places[:, None] - places[None] + 3).clamp(0, 6)
    rows = (offsets[..., 0] * 7 + offsets[..., 1]) * 7 + offsets[..., 2]
    bias = block.attn.relative_position_bias_table[rows].permute(2, 0, 1).masked_fill(~same, float("-inf"))
    full = torch.zeros(1, *padded, 8, dtype=torch.float64)
    full[:, : extent[0], : extent[1], : extent[2]] = x
    expected = block.attn(full.flatten(1, 3), bias[None]).view(1, *padded, 8)
    expected = expected[:, : extent[0], : extent[1], : extent[2]]
    torch.testing.assert_close(block.attend(x), expected)


def test_merging_takes_two_by_two_neighbours_and_fills_up_odd_sides():
    merge = PatchMerging(2)
    assert list(merge(torch.randn(1, 3, 5, 4, 2)).shape) == [1, 3, 3, 2, 4]


@pytest.mark.parametrize("size", SWINS)
def test_heads_have_32_channels(size):
    config = SWINS[size]
    assert {config.width * 2**i // heads for i, heads in enumerate(config.heads)} == {32}


def test_image_weights_are_spread_over_time(tmp_path):
    torch.manual_seed(0)
    model = build_model("swin-demo", num_classes=5)
    own = model.state_dict()
    image = {}
    for name, tensor in own.items():
        bare = name.removeprefix("backbone.")
        if name.startswith("head."):
            continue
        if bare == "patch_embed.proj.weight":
            tensor = tensor[:, :, 0]
        elif bare.endswith("bias_table"):
            tensor = tensor[:49]
            image[bare.replace("bias_table", "index")] = torch.zeros(16, 16, dtype=torch.int64)
        image[bare] = torch.randn_like(tensor)
    image |= {"head.weight": torch.zeros(1000, 48), "head.bias": torch.zeros(1000)}
    image["layers.0.blocks.1.attn_mask"] = torch.zeros(4, 16, 16)
    torch.save({"model": image}, tmp_path / "image.pth")
    report = load_weights(model, tmp_path / "image.pth", mode="finetune")
    assert report.replaced == ("head.fc.weight", "head.fc.bias")
    assert set(report.unexpected) == {"head.weight", "head.bias"}
    loaded = model.state_dict()
    filters = image["patch_embed.proj.weight"]
    torch.testing.assert_close(loaded["backbone.patch_embed.proj.weight"].sum(2), filters)
    name = "layers.1.blocks.1.attn.relative_position_bias_table"
    torch.testing.assert_close(loaded["backbone." + name].view(7, 49, 4), image[name].expand(7, 49, 4))


def test_a_table_that_does_not_fit_stays_as_it_is():
    table = torch.zeros(50, 3)
    assert repeat_table(table, 7 * 49) is table


def test_tables_that_hold_nothing_learned_are_no_trouble(tmp_path):
    model = build_model("swin-demo", num_classes=5)
    state = model.state_dict()
    state["backbone.layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(64, 64, dtype=torch.int64)
    torch.save(state, tmp_path / "clips.pth")
    assert load_weights(model, tmp_path / "clips.pth", mode="strict").unexpected == ()
