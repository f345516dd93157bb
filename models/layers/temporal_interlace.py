"""Temporal interlacing: groups of channels move along time by distances that the clip decides.

Source: "Temporal Interlacing Network" (arXiv:2001.06499), section 3, with the constants of the authors' code, as in
MMAction2 (mmaction/models/backbones/resnet_tin.py): distances in (-2, 2) frames, weights in (0, 2), two learned groups
and their mirror images.

Shapes: B clips, T frames, C channels, h x w cells, F = C / ``shift_div`` channels that move, G = 4 groups of them.
"""

import torch
from torch import Tensor, nn

_LEARNED_GROUPS = 2
_MAX_SHIFT_FRAMES = 2.0


class TemporalInterlace(nn.Module):
    """The first F channels in four groups, each moved forward by its own distance and weighted frame by frame.

    A distance between whole frames mixes the two frames around it; what comes from outside the clip is zero.

    Args:
        channels: C.
        num_frames: T, on which the distances' layers depend.
        shift_div: C / F.

    Raises:
        ValueError: F is no multiple of 4.
    """

    def __init__(self, channels: int, num_frames: int, shift_div: int = 4) -> None:
        super().__init__()
        self.moved, self.num_frames = channels // shift_div, num_frames
        if self.moved % (2 * _LEARNED_GROUPS):
            raise ValueError(f"1 / {shift_div} of {channels} channels is no multiple of {2 * _LEARNED_GROUPS}")
        self.distance_conv = nn.Conv1d(self.moved, 1, 3, padding=1)
        self.distance_fc1 = nn.Linear(num_frames, num_frames)
        self.distance_fc2 = nn.Linear(num_frames, _LEARNED_GROUPS)
        self.weight_conv = nn.Conv1d(self.moved, _LEARNED_GROUPS, 3, padding=1)
        nn.init.constant_(self.distance_fc2.bias, 0.5108)  # distances start near half a frame
        nn.init.zeros_(self.weight_conv.bias)  # type: ignore[arg-type]  # it has one; weights start at one

    def distances(self, pooled: Tensor) -> Tensor:
        """[B, F, T] -> distances in frames of the groups [B, G]; the last two are the first two's negatives."""
        x = self.distance_fc2(torch.relu(self.distance_fc1(self.distance_conv(pooled).squeeze(1))))
        distances = 2 * _MAX_SHIFT_FRAMES * (x.sigmoid() - 0.5)
        return torch.cat([distances, -distances], dim=1)

    def weights(self, pooled: Tensor) -> Tensor:
        """[B, F, T] -> factors of the groups [B, G, T]."""
        return 2 * self.weight_conv(pooled).sigmoid().repeat(1, 2, 1)

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """[B*T, C, h, w] -> the same shape.

        Raises:
            ValueError: clips of another number of frames than the module was made for.
        """
        if num_frames != self.num_frames:
            raise ValueError(f"made for clips of {self.num_frames} frames, not {num_frames}")
        moving = x[:, : self.moved].unflatten(0, (-1, num_frames))  # [B, T, F, h, w]
        pooled = moving.mean(dim=(3, 4)).transpose(1, 2)  # [B, F, T]
        distances, weights = self.distances(pooled), self.weights(pooled)
        times = torch.arange(num_frames, device=x.device, dtype=distances.dtype)
        # Row t of a group's matrix picks the frames around t - distance, linearly between them: [B, G, T, T].
        gaps = times[:, None] - times - distances[:, :, None, None]
        mixing = (1 - gaps.abs()).clamp_min(0) * weights.unsqueeze(-1)
        groups = moving.unflatten(2, (distances.shape[1], -1)).transpose(1, 2)  # [B, G, T, F / G, h, w]
        mixed = (mixing.to(x.dtype) @ groups.flatten(3)).unflatten(3, groups.shape[3:])
        mixed = mixed.transpose(1, 2).flatten(2, 3).flatten(0, 1)  # -> [B*T, F, h, w]
        return torch.cat([mixed, x[:, self.moved :]], dim=1)
