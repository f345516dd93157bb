"""Which frame each channel comes from after a temporal shift."""

import pytest
import torch

from vidflow.models.layers.temporal_shift import TemporalShift, temporal_shift


def expected_shift(x, num_frames, fold):
    """The definition, value by value."""
    out = torch.zeros_like(x)
    for row in range(x.shape[0]):
        clip, t = divmod(row, num_frames)
        for channel in range(x.shape[1]):
            source = t + (1 if channel < fold else -1 if channel < 2 * fold else 0)
            if 0 <= source < num_frames:
                out[row, channel] = x[clip * num_frames + source, channel]
    return out


@pytest.mark.parametrize(("num_frames", "channels", "div"), [(4, 16, 8), (3, 10, 4), (1, 8, 2), (6, 7, 3)])
def test_each_channel_comes_from_its_frame(num_frames, channels, div):
    x = torch.randn(2 * num_frames, channels, 3, 2)
    torch.testing.assert_close(
        TemporalShift(div)(x, num_frames), expected_shift(x, num_frames, channels // div), rtol=0, atol=0
    )


def test_the_input_is_left_as_it_is():
    x = torch.randn(4, 8, 2, 2)
    before = x.clone()
    temporal_shift(x, 4, 2)
    torch.testing.assert_close(x, before, rtol=0, atol=0)


def test_gradients_flow_back_to_their_frames_also_twice():
    x = torch.randn(6, 5, 2, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: temporal_shift(v, 3, 2), (x,))
    assert torch.autograd.gradgradcheck(lambda v: temporal_shift(v, 3, 2) ** 2, (x,))


def test_the_memory_layout_is_kept():
    x = torch.randn(4, 8, 3, 3).to(memory_format=torch.channels_last)
    assert temporal_shift(x, 4, 1).is_contiguous(memory_format=torch.channels_last)


def test_frames_that_make_no_whole_clips_are_refused():
    with pytest.raises(ValueError, match="7 frames are no whole number of clips of 4"):
        temporal_shift(torch.zeros(7, 8, 1, 1), 4, 1)


def test_more_channels_than_there_are_cannot_be_shifted():
    with pytest.raises(ValueError, match="cannot shift 2 x 3 of 5 channels"):
        temporal_shift(torch.zeros(4, 5, 1, 1), 4, 3)


def test_a_shift_of_more_than_all_channels_is_refused():
    with pytest.raises(ValueError, match=r"shift_div \(1\)"):
        TemporalShift(1)
