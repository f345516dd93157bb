"""MViT's attention, against the plain formula with a table of position terms, and its relative positions."""

import pytest
import torch

from vidflow.models.backbones.mvit import MViT, MViTSize, PooledAttention, relative_rows

TINY = MViTSize(width=24, depth=3, heads=1, downscale=(1,), kv_stride=2)


def test_relative_rows_are_those_of_the_distance():
    table = torch.arange(7.0)[:, None]  # distances -3 .. 3
    rows = relative_rows(table, 4, 4)[..., 0]
    assert rows.tolist() == [[3, 2, 1, 0], [4, 3, 2, 1], [5, 4, 3, 2], [6, 5, 4, 3]]


def test_pooled_keys_are_steps_of_several_queries_apart():
    rows = relative_rows(torch.arange(7.0)[:, None], 4, 2)[..., 0]
    assert rows.tolist() == [[2, 0], [3, 1], [4, 2], [5, 3]]


def test_a_table_of_another_length_is_interpolated():
    rows = relative_rows(torch.tensor([0.0, 1, 2])[:, None], 3, 3)[..., 0]
    assert rows[0, 2] == pytest.approx(0.0, abs=0.2)
    assert rows[1, 1] == pytest.approx(1.0)
    assert rows[2, 0] == pytest.approx(2.0, abs=0.2)


def test_position_terms_as_channels_equal_a_table_of_them():
    torch.manual_seed(0)
    attention = PooledAttention(8, 8, 2, grid=(2, 4, 4), q_stride=1, kv_stride=2).double()
    q_grid, k_grid = (2, 4, 4), (2, 2, 2)
    q, k, v = (torch.randn(3, 2, 1 + n, 4, dtype=torch.float64) for n in (32, 8, 8))
    for table in (attention.rel_pos_t, attention.rel_pos_h, attention.rel_pos_w):
        torch.nn.init.normal_(table)
    rows = [
        relative_rows(table, a, b)
        for table, a, b in zip(
            (attention.rel_pos_t, attention.rel_pos_h, attention.rel_pos_w), q_grid, k_grid, strict=True
        )
    ]
    scores = q @ k.transpose(-2, -1) / 2
    for i in range(32):
        for j in range(8):
            place_q, place_k = (i // 16, i // 4 % 4, i % 4), (j // 4, j // 2 % 2, j % 2)
            term = sum(table[a, b] for table, a, b in zip(rows, place_q, place_k, strict=True))
            scores[:, :, 1 + i, 1 + j] += q[:, :, 1 + i] @ term
    expected = scores.softmax(-1) @ v
    torch.testing.assert_close(attention.attend(q, k, v, q_grid, k_grid), expected)


@torch.inference_mode()
def test_clips_of_another_size_interpolate_the_tables():
    backbone = MViT(TINY, num_frames=8, image_size=32).eval()
    assert list(backbone(torch.randn(2, 3, 6, 48, 40)).shape) == [2, 48]


@torch.inference_mode()
def test_hidden_tokens_do_not_see_their_pixels():
    backbone = MViT(TINY, num_frames=8, image_size=32).eval()
    clips, mask_token = torch.randn(1, 3, 8, 32, 32), torch.randn(24)
    everything = torch.ones(1, 4 * 8 * 8, dtype=torch.bool)
    tokens = backbone.tokens(clips, everything, mask_token)
    torch.testing.assert_close(tokens, backbone.tokens(torch.zeros_like(clips), everything, mask_token))
    assert not torch.allclose(tokens, backbone.tokens(clips, ~everything, mask_token))
