"""Temporal shift: some channels of each frame come from the frame before or after it.

Source: "TSM: Temporal Shift Module for Efficient Video Understanding" (arXiv:1811.08383), section 3; the
bidirectional shift with zeros at the ends. The direction of each part of the channels is that of the authors' code
and of MMAction2.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def _shifted(x: Tensor, num_frames: int, fold: int, step: int) -> Tensor:
    """Every value is written once, in the input's memory layout."""
    out = torch.empty_like(x)
    # [B*T, C, h, w] -> [B, T, C, h, w], views of the same memory
    source, target = x.unflatten(0, (-1, num_frames)), out.unflatten(0, (-1, num_frames))
    for first, towards_start in ((0, step > 0), (fold, step < 0)):
        channels = slice(first, first + fold)
        if towards_start:
            target[:, :-1, channels] = source[:, 1:, channels]
            target[:, -1, channels] = 0
        else:
            target[:, 1:, channels] = source[:, :-1, channels]
            target[:, 0, channels] = 0
    target[:, :, 2 * fold :] = source[:, :, 2 * fold :]
    return out


def _joined(x: Tensor, num_frames: int, fold: int) -> Tensor:
    """The same as ``_shifted`` with step 1, of three pieces: programs of other projects have no writing in place."""
    x = x.unflatten(0, (-1, num_frames))
    later = functional.pad(x[:, 1:, :fold], (0, 0, 0, 0, 0, 0, 0, 1))
    earlier = functional.pad(x[:, :-1, fold : 2 * fold], (0, 0, 0, 0, 0, 0, 1, 0))
    return torch.cat([later, earlier, x[:, :, 2 * fold :]], dim=2).flatten(0, 1)


class _Shift(torch.autograd.Function):
    """The same with a gradient that is as cheap."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, num_frames: int, fold: int, step: int) -> Tensor:
        ctx.num_frames, ctx.fold, ctx.step = num_frames, fold, step
        return _shifted(x, num_frames, fold, step)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        # The transpose of a shift with zeros at the ends is the shift the other way.
        return _Shift.apply(grads[0], ctx.num_frames, ctx.fold, -ctx.step), None, None, None


def temporal_shift(x: Tensor, num_frames: int, fold: int) -> Tensor:
    """Shift ``fold`` channels one frame towards the start of the clip, the next ``fold`` one towards its end.

    So frame t holds the first channels of frame t + 1, the next ones of frame t - 1, and the rest is its own; the
    ends are filled with zeros.

    Args:
        x: [B*T, C, h, w], frames of a clip in a row.
        num_frames: T.
        fold: channels of each direction, at most C / 2.

    Returns:
        [B*T, C, h, w].

    Raises:
        ValueError: the rows are no multiple of T, or there are fewer than ``2 * fold`` channels.
    """
    if num_frames < 1 or x.shape[0] % num_frames:
        raise ValueError(f"{x.shape[0]} frames are no whole number of clips of {num_frames}")
    if 2 * fold > x.shape[1]:
        raise ValueError(f"cannot shift 2 x {fold} of {x.shape[1]} channels")
    if torch.compiler.is_exporting():
        return _joined(x, num_frames, fold)
    # Without a gradient to come there are plain operations only, which can be traced.
    if torch.is_grad_enabled() and x.requires_grad:
        return _Shift.apply(x, num_frames, fold, 1)
    return _shifted(x, num_frames, fold, 1)


class TemporalShift(nn.Module):
    """``temporal_shift`` of C // ``shift_div`` channels each way.

    Args:
        shift_div: 8 shifts a quarter of the channels in all, the paper's best (figure 2).
        num_frames: frames that are shifted among each other, which divide a clip's; None takes all of a clip.
    """

    def __init__(self, shift_div: int = 8, num_frames: int | None = None) -> None:
        super().__init__()
        if shift_div < 2:
            raise ValueError(f"shift_div ({shift_div}) must be at least 2")
        self.shift_div, self.num_frames = shift_div, num_frames

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """[B*T, C, h, w] -> the same shape."""
        group = self.num_frames or num_frames
        if num_frames % group:
            raise ValueError(f"clips of {num_frames} frames cannot be divided into groups of {group}")
        return temporal_shift(x, group, x.shape[1] // self.shift_div)

    def extra_repr(self) -> str:
        return f"shift_div={self.shift_div}"
