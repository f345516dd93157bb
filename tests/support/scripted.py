"""A small module that TorchScript can compile, with the kinds of attribute that CLIP's archives have."""

import torch
from torch import Tensor, nn


class Scripted(nn.Module):
    """Nested modules, parameters, a scalar, a whole-number buffer, views of one storage, plain attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = nn.Sequential(nn.Conv2d(3, 4, 2), nn.ReLU())
        self.logit_scale = nn.Parameter(torch.tensor(2.5))
        self.register_buffer("input_resolution", torch.tensor(224))
        self.text_projection = nn.Parameter(torch.randn(3, 5).T)
        self.sizes = [1, 2, 3]
        self.name = "scripted"

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] -> [N, 4, H - 1, W - 1]."""
        return self.visual(x) * self.logit_scale
