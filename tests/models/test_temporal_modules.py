"""TIN's interlacing and TANet's adaptive module against their formulas, written as loops."""

import pytest
import torch
from torch.nn import functional

from vidflow.models.layers.temporal_adaptive import TemporalAdaptive
from vidflow.models.layers.temporal_interlace import TemporalInterlace


def moved(x, distance):
    """[T, ...] moved forward by whole frames, zeros from outside."""
    out = torch.zeros_like(x)
    for t in range(len(x)):
        if 0 <= t - distance < len(x):
            out[t] = x[t - distance]
    return out


@torch.no_grad()
def test_interlacing_moves_groups_of_channels_by_parts_of_frames():
    torch.manual_seed(0)
    T, C = 6, 32
    module = TemporalInterlace(C, T, shift_div=4).double()
    for parameter in module.parameters():
        parameter.normal_(std=0.7)
    x = torch.randn(2 * T, C, 3, 2, dtype=torch.float64)
    out = module(x, T).unflatten(0, (2, T))
    clips = x.unflatten(0, (2, T))
    pooled = clips[:, :, :8].mean(dim=(3, 4)).transpose(1, 2)
    distances, weights = module.distances(pooled), module.weights(pooled)
    assert distances.abs().max() < 2
    assert distances.abs().max() > 1  # so that the whole frames matter
    torch.testing.assert_close(distances[:, :2], -distances[:, 2:])
    for b in range(2):
        for g in range(4):
            group, distance = clips[b, :, 2 * g : 2 * g + 2], distances[b, g].item()
            whole = int(distance // 1)
            part = distance - whole
            expected = (1 - part) * moved(group, whole) + part * moved(group, whole + 1)
            expected = expected * weights[b, g][:, None, None, None]
            torch.testing.assert_close(out[b, :, 2 * g : 2 * g + 2], expected)
    torch.testing.assert_close(out[:, :, 8:], clips[:, :, 8:], rtol=0, atol=0)


def test_interlacing_starts_with_equal_weights():
    module = TemporalInterlace(16, 4)
    with torch.no_grad():
        torch.testing.assert_close(module.weights(torch.zeros(1, 4, 4)), torch.ones(1, 4, 4))


def test_interlacing_of_channels_that_make_no_four_groups_is_refused():
    with pytest.raises(ValueError, match=r"1 / 4 of 24 channels is no multiple of 4"):
        TemporalInterlace(24, 4, shift_div=4)


def test_distances_learn():
    module = TemporalInterlace(16, 4)
    module(torch.randn(8, 16, 2, 2), 4).square().sum().backward()
    assert module.distance_fc2.weight.grad.abs().sum() > 0


@torch.no_grad()
def test_adaptive_kernels_filter_each_channel_along_time():
    torch.manual_seed(0)
    B, T, C = 2, 5, 8
    module = TemporalAdaptive(C, T).double().eval()
    for parameter in module.parameters():
        parameter.normal_()
    x = torch.randn(B * T, C, 3, 2, dtype=torch.float64)
    out = module(x, T).unflatten(0, (B, T))
    clips = x.unflatten(0, (B, T))
    pooled = clips.mean(dim=(3, 4)).transpose(1, 2)  # [B, C, T]
    gate = module.gate(pooled)
    for b in range(B):
        kernels = module.kernel(pooled[b])  # [C, 3]
        torch.testing.assert_close(kernels.sum(1), torch.ones(C, dtype=torch.float64))
        for c in range(C):
            series = (clips[b, :, c] * gate[b, c][:, None, None]).flatten(1).T[:, None]  # [h*w, 1, T]
            expected = functional.conv1d(series, kernels[c][None, None], padding=1)[:, 0].T.unflatten(1, (3, 2))
            torch.testing.assert_close(out[b, :, c], expected)
