"""Classification of a clip by the feature maps of several pathways."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vidflow.models.heads.feature import FeatureHead


class PathwayHead(FeatureHead):
    """Feature maps [N, D1, ...], [N, D2, ...], ... -> class scores [N, K], from the mean of each.

    The means stand in a row, the last pathway's first: MMAction2's order, whose weights load as they are.
    """

    def forward(self, features: Sequence[Tensor]) -> Tensor:  # type: ignore[override]  # several instead of one
        """Several [N, D', ...] with D' adding up to D -> [N, K], in float32 at least."""
        return super().forward(torch.cat([x.flatten(2).mean(dim=2) for x in reversed(features)], dim=1))
