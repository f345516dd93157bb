"""Layers that transformers share: attention, MLP, drop path, initial weights, recomputation."""

import pytest
import torch
from torch import nn

from vidflow.models.layers.attention import Mlp, SelfAttention, init_transformer
from vidflow.models.layers.drop_path import DropPath, drop_path_rates
from vidflow.models.layers.recompute import run_block


@torch.inference_mode()
def test_attention_equals_torchs_own():
    torch.manual_seed(0)
    ours, theirs = SelfAttention(12, 3).eval(), nn.MultiheadAttention(12, 3, batch_first=True).eval()
    theirs.in_proj_weight.copy_(ours.qkv.weight)
    theirs.in_proj_bias.copy_(ours.qkv.bias)
    theirs.out_proj.load_state_dict(ours.proj.state_dict())
    x = torch.randn(2, 5, 12)
    torch.testing.assert_close(ours(x), theirs(x, x, x, need_weights=False)[0])


@torch.inference_mode()
def test_a_bias_is_added_to_the_scores():
    attention = SelfAttention(8, 2).eval()
    x = torch.randn(1, 4, 8)
    mask = torch.full((4, 4), float("-inf")).fill_diagonal_(0.0)
    _, _, v = attention.split(x)
    torch.testing.assert_close(attention(x, mask), attention.join(v))  # each token sees itself alone


def test_channels_that_the_heads_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="10 channels cannot be split into 3 heads"):
        SelfAttention(10, 3)


def test_dropout_of_attention_acts_in_training_only():
    attention = SelfAttention(8, 2, dropout=0.5)
    x = torch.randn(1, 16, 8)
    assert not torch.equal(attention(x), attention(x))
    attention.eval()
    torch.testing.assert_close(attention(x), attention(x), rtol=0, atol=0)


def test_an_mlp_can_change_the_width():
    assert list(Mlp(4, 16, 8)(torch.zeros(2, 3, 4)).shape) == [2, 3, 8]


def test_drop_path_leaves_out_whole_samples_and_keeps_the_mean():
    torch.manual_seed(0)
    out = DropPath(0.25).train()(torch.ones(4000, 2, 3))
    rows = out.flatten(1)
    assert torch.equal(rows.amin(1), rows.amax(1))
    assert sorted(rows[:, 0].unique().tolist()) == pytest.approx([0.0, 4 / 3])
    assert out.mean().item() == pytest.approx(1.0, abs=0.03)


def test_drop_path_is_the_identity_in_evaluation():
    x = torch.randn(3, 4)
    assert DropPath(0.9).eval()(x) is x
    assert DropPath(0.0).train()(x) is x


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_rate_outside_of_its_range_is_refused(rate):
    with pytest.raises(ValueError, match=rf"drop path rate \({rate}\)"):
        DropPath(rate)


def test_rates_rise_evenly():
    assert drop_path_rates(0.3, 4) == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert drop_path_rates(0.3, 1) == [0.0]


def test_weights_are_drawn_within_two_deviations():
    model = nn.Sequential(nn.Linear(200, 200), nn.LayerNorm(200))
    nn.init.normal_(model[1].bias)
    init_transformer(model)
    assert model[0].weight.abs().max() <= 0.04
    assert model[0].weight.std().item() == pytest.approx(0.0176, abs=0.001)  # of the cut distribution
    assert not model[0].bias.any()
    assert not model[1].bias.any()


def test_recomputation_runs_a_block_twice_in_training():
    calls = []

    def block(x):
        calls.append(1)
        return x * x

    x = torch.ones(2, requires_grad=True)
    run_block(block, x, recompute=True).sum().backward()
    assert len(calls) == 2
    assert x.grad.tolist() == [2, 2]
    with torch.no_grad():
        run_block(block, x, recompute=True)
    assert len(calls) == 3


def test_a_bias_that_learns_gives_the_same_values_as_one_that_does_not():
    torch.manual_seed(0)
    attention = SelfAttention(8, 2).double()
    x, bias = torch.randn(3, 5, 8, dtype=torch.float64), torch.randn(1, 2, 5, 5, dtype=torch.float64)
    bias[..., 2] = float("-inf")
    with torch.no_grad():
        expected = attention(x, bias)
    learnt = bias.clone().requires_grad_()
    torch.testing.assert_close(attention(x, learnt), expected)
    assert torch.autograd.gradcheck(lambda b: attention(x, b), bias.nan_to_num(neginf=0).requires_grad_())
