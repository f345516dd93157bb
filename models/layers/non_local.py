"""Non-local block: every place of a clip sees all others.

Source: "Non-local Neural Networks" (arXiv:1711.07971), eq. 1-6, with the paper's subsampling (section 3.3) and a
BatchNorm that starts at zero, so that the block starts as the identity (section 4.1).

Shapes: N clips, C channels, T frames, h x w cells of the feature map.
"""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from vidflow.models.layers.conv3d import Conv3d

NonLocalMode = Literal["gaussian", "embedded_gaussian", "dot_product"]


class NonLocal(nn.Module):
    """x + norm(out(weights(x) g(x))), where ``weights`` compares all places of a clip with each other.

    Args:
        mode: "gaussian" (eq. 2) and "embedded_gaussian" (eq. 3) are softmax attention on the features and on linear
            maps of them; "dot_product" (eq. 4) divides the products by their number instead.
        scale: "embedded_gaussian" divides the products by the root of their length, as attention does elsewhere.
        subsample: the places that are looked at are max-pooled, 2x2 cells to one.
    """

    def __init__(self, channels: int, *, mode: NonLocalMode, scale: bool = False, subsample: bool = True) -> None:
        super().__init__()
        if mode not in ("gaussian", "embedded_gaussian", "dot_product"):
            raise ValueError(f"mode ({mode!r}) must be 'gaussian', 'embedded_gaussian' or 'dot_product'")
        inner = channels // 2
        self.mode, self.scale, self.inner = mode, scale, inner
        self.g = Conv3d(channels, inner, 1)
        self.theta = None if mode == "gaussian" else Conv3d(channels, inner, 1)
        self.phi = None if mode == "gaussian" else Conv3d(channels, inner, 1)
        self.out = Conv3d(inner, channels, 1, bias=False)
        self.norm = nn.BatchNorm3d(channels)
        self.pool = nn.MaxPool3d((1, 2, 2)) if subsample else nn.Identity()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Small random maps, and zero for the branch as a whole."""
        for conv in (self.g, self.theta, self.phi):
            if conv is not None:
                nn.init.normal_(conv.weight, std=0.01)
                nn.init.zeros_(conv.bias)  # type: ignore[arg-type]  # these have one
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, T, h, w] -> the same shape."""
        # [N, C', T, h, w] -> [N, places, C'], one row per place
        theta = (x if self.theta is None else self.theta(x)).flatten(2).transpose(1, 2)
        phi = self.pool(x if self.phi is None else self.phi(x)).flatten(2).transpose(1, 2)
        g = self.pool(self.g(x)).flatten(2).transpose(1, 2)
        if self.mode == "dot_product":
            y = theta @ phi.transpose(1, 2) / phi.shape[1] @ g
        else:
            scale = self.inner**-0.5 if self.scale and self.mode == "embedded_gaussian" else 1.0
            # With an axis for one head, which torch's quick kernels and ONNX ask for.
            y = functional.scaled_dot_product_attention(theta[:, None], phi[:, None], g[:, None], scale=scale)[:, 0]
        y = y.transpose(1, 2).unflatten(2, x.shape[2:])  # [N, places, C/2] -> [N, C/2, T, h, w]
        return x + self.norm(self.out(y))


class FrameNonLocal(NonLocal):
    """The same between the blocks of a 2D backbone, whose frames lie in a row."""

    def forward(self, x: Tensor, num_frames: int) -> Tensor:  # type: ignore[override]  # the hook of 2D backbones
        """[N*T, C, h, w] -> the same shape."""
        clips = x.unflatten(0, (-1, num_frames)).transpose(1, 2)  # [N*T, C, h, w] -> [N, C, T, h, w]
        y = super().forward(clips)
        return y.transpose(1, 2).flatten(0, 1)  # [N, C, T, h, w] -> [N*T, C, h, w]
