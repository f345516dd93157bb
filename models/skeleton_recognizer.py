"""What all classifiers of skeletons share: options, head, names in MMAction2's files.

Shapes: B samples, V views, M people, T frames, K keypoints, C coordinates; D features.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vidflow.models.heads.linear import LinearHead
from vidflow.models.recognizer import Recognizer, RecognizerConfig
from vidflow.skeletons.layouts import LAYOUTS, SkeletonLayout, find_layout

# Ends of the names of matrices of the graph. The first is a constant in some families, which we do not store.
_GRAPHS = (".adjacency", ".importance", ".offset")


@dataclass(frozen=True, kw_only=True)
class SkeletonRecognizerConfig(RecognizerConfig):
    """Options of every classifier of skeletons; families add theirs."""

    num_classes: int = 60
    in_channels: int = 3
    """C: coordinates and perhaps a score of each keypoint."""
    dropout: float = 0.0
    """Before the last linear layer."""
    layout: str | Mapping[str, Any] = "coco"
    """The skeleton: a name of ``vidflow.skeletons.layouts.LAYOUTS``, or a table of ``num_keypoints``, ``edges``, ..."""
    num_people: int = 2
    """M, for families whose first BatchNorm has statistics for each person; the others take any number."""

    def __post_init__(self) -> None:
        super().__post_init__()
        find_layout(self.layout)
        if self.num_people < 1:
            raise ValueError(f"num_people ({self.num_people}) must be positive")

    @property
    def skeleton(self) -> SkeletonLayout:
        """The layout itself."""
        return find_layout(self.layout)


class SkeletonRecognizer(Recognizer):
    """Classifies each view of a skeleton sequence: backbone, mean over people, frames and keypoints, linear layer.

    Args:
        backbone: called as ``backbone(skeletons [N, M, T, K, C])``, gives [N, M, D, T', K].
        width: D.
        num_people: the one number of people that the backbone takes; None if it takes any.
    """

    input_name = "skeletons"
    by_person: ClassVar[bool] = True
    """Whether the first BatchNorm has statistics for each person."""
    option_shapes: ClassVar[dict[str, tuple[str, int]]] = {"num_classes": ("head.fc.bias", 0)}

    def __init__(
        self, config: SkeletonRecognizerConfig, backbone: nn.Module, width: int, *, num_people: int | None = None
    ) -> None:
        super().__init__(config)
        self.layout, self.num_people = config.skeleton, num_people
        self.backbone = backbone
        self.head = LinearHead(width, config.num_classes, dropout=config.dropout, init_std=0.01)

    @classmethod
    def constant(cls, name: str, layout: SkeletonLayout, shape: tuple[int, ...]) -> Tensor | None:
        """The matrix of a layout that other projects' files hold under a name, in a shape; None where there is none."""
        return None

    @classmethod
    def told_channels(cls, tensors: Mapping[str, Tensor]) -> int | None:
        """C, where a file's tensors (by our names) tell it."""
        name, axis = cls.option_shapes.get("in_channels", ("", 0))
        return tensors[name].shape[axis] if name in tensors and tensors[name].ndim > axis else None

    @classmethod
    def tensor_options(cls, tensors: Mapping[str, Tensor], *, layout: str | None = None) -> dict[str, Any]:
        """Options that a file's tensors (by our names) tell: channels, people, and the layout that has as many
        keypoints, of several the one whose edges the file holds.

        Args:
            layout: the layout's name, if it is known.

        Raises:
            ValueError: no such layout, or several fit.
        """
        options: dict[str, Any] = {} if layout is None else {"layout": find_layout(layout).name}
        graphs = {name: tensor for name, tensor in tensors.items() if name.endswith(_GRAPHS)}
        if not graphs:
            return options
        num_keypoints = min(tensor.shape[-1] for tensor in graphs.values())  # others are of a window of several frames
        if layout is None:
            options |= cls._told_layout(graphs, num_keypoints)
        if channels := cls.told_channels(tensors):
            options["in_channels"] = channels
        norm, size = tensors.get("backbone.data_norm.bn.weight"), num_keypoints * (channels or 0)
        if cls.by_person and norm is not None and size and norm.numel() % size == 0:
            options["num_people"] = norm.numel() // size
        return options

    @classmethod
    def _told_layout(cls, graphs: Mapping[str, Tensor], num_keypoints: int) -> dict[str, str]:
        fitting = [layout for layout in LAYOUTS.values() if layout.num_keypoints == num_keypoints]
        if len(fitting) > 1:
            alike = [
                layout
                for layout in fitting
                if any(cls._constant_equals(name, tensor, layout) for name, tensor in graphs.items())
            ]
            if len(alike) != 1:
                names = " or ".join(layout.name for layout in fitting)
                raise ValueError(
                    f"its {num_keypoints} keypoints could be those of {names}, and no matrix in it tells which; "
                    "give --layout NAME"
                )
            fitting = alike
        return {"layout": fitting[0].name} if fitting else {}

    @classmethod
    def _constant_equals(cls, name: str, tensor: Tensor, layout: SkeletonLayout) -> bool | None:
        """Whether a file's matrix is the layout's; None if that has none of this name and shape."""
        if not name.endswith(_GRAPHS[0]):
            return None
        with torch.device("cpu"):
            constant = cls.constant(name, layout, tuple(tensor.shape))
        if constant is None or constant.shape != tensor.shape:
            return None
        return torch.allclose(constant, tensor.float(), atol=1e-4)  # both are single precision

    def adapt_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Without the graph's constants, unless they are those of other edges: these stay, for nobody to take.

        Those of another number of keypoints go too: then learned tensors have another shape as well.
        """
        own = self.state_dict()
        return {
            name: tensor
            for name, tensor in tensors.items()
            if name in own or not name.endswith(_GRAPHS[0]) or self._constant_equals(name, tensor, self.layout) is False
        }

    def logits(self, skeletons: Tensor) -> Tensor:
        """[B, V, M, T, K, C] -> class scores [B, V, classes] before softmax or sigmoid.

        Raises:
            ValueError: skeletons of another shape.
        """
        points, channels = self.layout.num_keypoints, self.config.in_channels
        if skeletons.ndim != 6 or tuple(skeletons.shape[4:]) != (points, channels):
            raise ValueError(
                f"skeletons must be [B, V, M, T, {points}, {channels}] for the layout {self.layout.name}, "
                f"not {list(skeletons.shape)}"
            )
        people, frames = skeletons.shape[2:4]
        if not people or not frames:
            raise ValueError(f"skeletons of {people} people and {frames} frames: there must be one of each at least")
        if self.num_people not in (None, people):
            raise ValueError(f"skeletons of {people} people: the model was made for num_people = {self.num_people}")
        features = self.backbone(skeletons.flatten(0, 1))  # [B*V, M, D, T', K]
        scores = self.head(features.mean(dim=(1, 3, 4)))
        return scores.unflatten(0, skeletons.shape[:2])  # [B*V, classes] -> [B, V, classes]
