"""Temporal adaptive module: each channel of a clip is filtered along time by a kernel that the clip itself decides.

Source: "TAM: Temporal Adaptive Module for Video Recognition" (arXiv:2005.06803), section 3.2: alpha 2, beta 4, kernels
of 3 frames.

Shapes: B clips, T frames, C channels, h x w cells.
"""

from torch import Tensor, nn

_ALPHA, _BETA, _KERNEL = 2, 4, 3


class TemporalAdaptive(nn.Module):
    """The local branch weights each channel of each frame; the global branch gives each channel its kernel.

    Args:
        channels: C.
        num_frames: T, on which the global branch depends.
    """

    def __init__(self, channels: int, num_frames: int) -> None:
        super().__init__()
        self.num_frames = num_frames
        self.kernel = nn.Sequential(
            nn.Linear(num_frames, _ALPHA * num_frames, bias=False),
            nn.BatchNorm1d(_ALPHA * num_frames),
            nn.ReLU(inplace=True),
            nn.Linear(_ALPHA * num_frames, _KERNEL, bias=False),
            nn.Softmax(dim=-1),
        )
        self.gate = nn.Sequential(
            nn.Conv1d(channels, channels // _BETA, 3, padding=1, bias=False),
            nn.BatchNorm1d(channels // _BETA),
            nn.ReLU(inplace=True),
            nn.Conv1d(channels // _BETA, channels, 1, bias=False),
            nn.Sigmoid(),
        )
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.001)
            elif isinstance(module, nn.Conv1d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """[B*T, C, h, w] -> the same shape.

        Raises:
            ValueError: clips of another number of frames than the module was made for.
        """
        if num_frames != self.num_frames:
            raise ValueError(f"made for clips of {self.num_frames} frames, not {num_frames}")
        clips = x.unflatten(0, (-1, num_frames))  # [B, T, C, h, w]
        pooled = clips.mean(dim=(3, 4)).transpose(1, 2)  # [B, C, T]
        taps = self.kernel(pooled.flatten(0, 1)).unflatten(0, pooled.shape[:2])  # [B, C, 3]
        before, here, after = taps[:, None, :, None, None].unbind(-1)  # [B, 1, C, 1, 1] each
        gated = clips * self.gate(pooled).transpose(1, 2)[..., None, None]
        # What would come from outside the clip is zero.
        out = here * gated
        out[:, 1:] += before * gated[:, :-1]
        out[:, :-1] += after * gated[:, 1:]
        return out.flatten(0, 1)
