"""The task model of 3D recognizers: whole clips through a backbone and a head.

Shapes: B samples, V views, C channels, T frames, H x W pixels, K classes.
"""

import torch
from torch import Tensor, nn

from vidflow.models.layers.conv3d import Conv3d, quick_layout
from vidflow.models.layers.freezing import Freezable
from vidflow.models.recognizer import Recognizer, RecognizerConfig


def fold_views(clips: Tensor, *, channels_last: bool) -> Tensor:
    """Clips [B, V, C, T, H, W] -> [B*V, C, T, H, W], with one copy at most.

    Args:
        channels_last: memory layout of the result (``torch.channels_last_3d``).
    """
    folded = clips.flatten(0, 1)
    return folded.contiguous(memory_format=torch.channels_last_3d) if channels_last else folded


class ClipRecognizer(Recognizer):
    """Classifies each view by its whole clip.

    Args:
        backbone: called as ``backbone(clips [N, C, T, H, W])``; gives features, in whatever form ``head`` takes them.
        head: called as ``head(features)``, gives [N, K].
    """

    def __init__(self, config: RecognizerConfig, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__(config)
        self.backbone, self.head = backbone, head
        if isinstance(backbone, Freezable) and getattr(config, "activation_checkpointing", False):
            backbone.recompute_blocks()
        self._convolves = any(isinstance(module, Conv3d) for module in backbone.modules())

    def folded(self, clips: Tensor) -> Tensor:
        """[B, V, C, T, H, W] -> [B*V, C, T, H, W], in the memory layout that the backbone is quickest with."""
        weight = next(self.backbone.parameters())
        chosen = (
            weight.ndim == 5
            and weight.is_contiguous(memory_format=torch.channels_last_3d)
            and not weight.is_contiguous()
        )
        folded = fold_views(clips, channels_last=chosen)
        return quick_layout(folded) if self._convolves else folded

    def logits(self, clips: Tensor) -> Tensor:
        """[B, V, C, T, H, W], normalised -> class scores [B, V, K] before softmax or sigmoid.

        Raises:
            ValueError: clips of another shape.
        """
        self.check_clips(clips)
        features = self.backbone(self.folded(clips))
        return self.head(features).unflatten(0, clips.shape[:2])  # [B*V, K] -> [B, V, K]
