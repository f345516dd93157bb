"""MaskFeat: MViTv2 learns, without labels, to tell the gradients of hidden parts of a clip.

Source: "Masked Feature Prediction for Self-Supervised Visual Pre-Training" (arXiv:2112.09133), sections 3 and 4.1;
40 % of a clip are hidden in cubes of random size (facebookresearch/SlowFast, configs/masked_ssl). The backbone keeps
14x14 places at the end, one for each target. Its weights start "mvit-small-maskfeat" (``load_from``).

Shapes: B clips, C channels, T x H x W frames, t x h x w places at the end, D channels of a token.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidflow.batch import Batch
from vidflow.models.backbones.mvit import MViT, MViTSize
from vidflow.models.hog import oriented_gradients
from vidflow.models.mvit import MVIT_KEYS
from vidflow.models.recognizer import Recognizer
from vidflow.models.registry import MODELS
from vidflow.models.video_transformer import TransformerConfig
from vidflow.predictions import ClassPredictions

BINS, CELL = 9, 8


@dataclass(frozen=True, kw_only=True)
class MaskFeatConfig(TransformerConfig):
    """Backbone and mask; the classes are not used."""

    backbone: MViTSize
    num_frames: int = 16
    image_size: int = 224
    hidden: float = 0.4
    """Part of the clip that is hidden."""
    mask_grid: int = 7
    """Cubes are made of units, of which so many lie side by side in height and width; in time, as many as places."""

    def __post_init__(self) -> None:
        super().__post_init__()
        side = self.image_size // 4 // 2 ** len(self.backbone.downscale)
        if not 0 < self.hidden < 1:
            raise ValueError(f"hidden ({self.hidden}) must lie in (0, 1)")
        if side < 1 or self.mask_grid < 1 or side % self.mask_grid or self.image_size % (side * CELL):
            raise ValueError(
                f"image_size ({self.image_size}) gives {side}x{side} places, which must be a multiple of mask_grid "
                f"({self.mask_grid}) and hold whole cells of {CELL} pixels"
            )


def cube_mask(grid: tuple[int, int, int], num_hidden: int) -> Tensor:
    """Cubes of random place, length and shape that hide ``num_hidden`` units of a grid, or a few less; bool, on CPU.

    A cube's area is 9 units up to the whole frame, less in a small frame, its aspect ratio 0.3 to 1 / 0.3
    (arXiv:2106.08254, algorithm 1, with a length in time). Draws from torch's global generator.
    """
    t, h, w = grid
    mask = torch.zeros(grid, dtype=torch.bool)
    left = num_hidden
    for _ in range(10 * num_hidden + 100):
        if left <= 0:
            break
        area_share, shape_share, *starts = torch.rand(5).tolist()
        least = min(9, h * w)
        area = least + area_share * (h * w - least)
        aspect = math.exp((2 * shape_share - 1) * -math.log(0.3))
        rows, columns = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        length = int(torch.randint(1, t + 1, ()))
        if not (0 < rows <= h and 0 < columns <= w):
            continue
        corner = [int(s * (n - k + 1)) for s, n, k in zip(starts, grid, (length, rows, columns), strict=True)]
        cube = mask[tuple(slice(c, c + k) for c, k in zip(corner, (length, rows, columns), strict=True))]
        new = cube.numel() - int(cube.sum())
        if 0 < new <= left:
            cube.fill_(True)
            left -= new
    return mask


class MaskFeat(Recognizer):
    """MViTv2 with a mask token, and a linear layer from tokens to histograms."""

    foreign_keys = (
        (r"backbone\.mask_token", "mask_token"),
        (r"neck\.fc\.(\w+)", r"decoder.\1"),
        *MVIT_KEYS,
    )
    foreign_mark = r"(?:backbone\.)?mask_token"
    head_prefixes = ("decoder.",)
    option_shapes: ClassVar[dict[str, tuple[str, int]]] = {"in_channels": ("backbone.patch_embed.proj.weight", 1)}
    param_rule = "no_norm_bias_decay"

    def __init__(self, config: MaskFeatConfig) -> None:
        super().__init__(config)
        self.backbone = MViT(
            config.backbone,
            num_frames=config.num_frames,
            image_size=config.image_size,
            in_channels=config.in_channels,
            widen_in_attention=False,
            drop_path=config.drop_path,
            recompute=config.activation_checkpointing,
        )
        self.side = config.image_size // 4 // 2 ** len(config.backbone.downscale)
        self.mask_grid, self.hidden = config.mask_grid, config.hidden
        cells = config.image_size // CELL // self.side
        self.mask_token = nn.Parameter(torch.zeros(config.backbone.width))
        self.decoder = nn.Linear(self.backbone.out_channels, config.in_channels * BINS * cells**2)
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        nn.init.trunc_normal_(self.decoder.weight, std=0.02)
        nn.init.zeros_(self.decoder.bias)

    def adapt_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """See ``Recognizer.adapt_weights``: MMPretrain's mask token has the shape of a token, [1, 1, D]."""
        return {name: tensor.flatten() if name == "mask_token" else tensor for name, tensor in tensors.items()}

    def targets(self, clips: Tensor) -> Tensor:
        """Histograms of every second frame, [B, C, T, H, W] -> [B, t*h*w, C * bins * cells of a place]."""
        frames = clips[:, :, ::2].transpose(1, 2)  # [B, t, C, H, W]
        cells = oriented_gradients(frames.flatten(0, 1), bins=BINS, cell=CELL).flatten(1, 2)
        step = cells.shape[-1] // self.side
        # [B*t, C*bins, h*step, w*step] -> [B*t, h*w, C*bins*step*step]
        places = functional.unfold(cells, step, stride=step).transpose(1, 2)
        return places.unflatten(0, frames.shape[:2]).flatten(1, 2)

    def draw_mask(self, num_clips: int, num_steps: int) -> Tensor:
        """bool [B, t, mask grid, mask grid], True where a clip is hidden."""
        grid = (num_steps, self.mask_grid, self.mask_grid)
        return torch.stack([cube_mask(grid, round(self.hidden * math.prod(grid))) for _ in range(num_clips)])

    def masked_loss(self, clips: Tensor, mask: Tensor) -> Tensor:
        """Squared error, averaged over channels and the hidden places.

        Args:
            clips: [B, C, T, H, W].
            mask: bool [B, t, mask grid, mask grid].
        """

        def spread(side: int) -> Tensor:  # -> [B, t * side * side]
            return (
                mask.repeat_interleave(side // self.mask_grid, 2)
                .repeat_interleave(side // self.mask_grid, 3)
                .flatten(1)
            )

        tokens = self.backbone.tokens(clips, spread(clips.shape[-1] // 4), self.mask_token)
        predicted = self.decoder(tokens[:, 1:])
        error = (predicted.float() - self.targets(clips)).square().mean(dim=-1)
        chosen = spread(self.side)
        return (error * chosen).sum() / chosen.sum()

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """``maskfeat_loss``, a scalar, under a mask drawn anew.

        Raises:
            ValueError: clips of another size than the config's.
        """
        self.check_clips(batch.clips)
        clips = batch.clips.flatten(0, 1)
        size = (self.config.num_frames, self.config.image_size, self.config.image_size)
        if tuple(clips.shape[2:]) != size:
            raise ValueError(f"clips must have T, H, W = {list(size)}, not {list(clips.shape[2:])}")
        mask = self.draw_mask(len(clips), size[0] // 2).to(clips.device)
        return {"maskfeat_loss": self.masked_loss(clips, mask)}

    def forward(self, batch: Batch) -> Tensor:
        """Predicted histograms of whole clips, [B, V, t*h*w, C * bins * cells of a place]."""
        self.check_clips(batch.clips)
        tokens = self.backbone.tokens(batch.clips.flatten(0, 1))
        predicted: Tensor = self.decoder(tokens[:, 1:])
        return predicted.unflatten(0, batch.clips.shape[:2])

    def predict(self, batch: Batch) -> ClassPredictions:
        """Not here: pre-training knows no classes.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "MaskFeat is pre-training and knows no classes: set train.val_every = 0, "
            "then train mvit-small-maskfeat with model.load_from"
        )


VARIANTS = {
    # Ours, for small frames on a CPU.
    "maskfeat-tiny": MaskFeatConfig(
        backbone=MViTSize(width=24, depth=3, heads=1, downscale=(1,), widen=(2,), kv_stride=2),
        num_frames=8,
        image_size=32,
        mask_grid=4,
    ),
    "maskfeat-mvit-small": MaskFeatConfig(
        backbone=MViTSize(width=96, depth=16, heads=1, downscale=(1, 3), widen=(14,))
    ),
}
for _name, _config in VARIANTS.items():
    MODELS.add(_name, _config, MaskFeat)
