"""Classification by relations between frames, of all numbers of frames from T to 2.

Source: "Temporal Relational Reasoning in Videos" (arXiv:1711.08496), eq. 3 (multi-scale relations) and section 3.1
(three tuples of frames are drawn for each number of frames).

Differs from the authors' code and MMAction2, which draw the tuples anew in evaluation too, so that no two evaluations
agree: ours are drawn anew in training only, and fixed by ``EVALUATION_SEED`` in evaluation.

Shapes: N clips, T frames, D features, R = 256 features of a frame in a relation, K classes.
"""

from itertools import combinations

import numpy as np
import torch
from torch import Tensor, nn

EVALUATION_SEED = 0
_MAX_TUPLES = 3
_HIDDEN = 256


class RelationHead(nn.Module):
    """Frame features [N*T, D, h, w] -> class scores of clips [N, K].

    Args:
        num_frames: T, at least 2.
        dropout: of the frames' features.
        init_std: standard deviation of the normal distribution from which the first layer's weights are drawn.
    """

    def __init__(
        self, in_channels: int, num_classes: int, *, num_frames: int, dropout: float, init_std: float = 0.001
    ) -> None:
        super().__init__()
        if num_frames < 2:
            raise ValueError(f"relations are between 2 frames at least, not {num_frames}")
        self.num_frames = num_frames
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(in_channels, _HIDDEN)
        nn.init.normal_(self.fc.weight, std=init_std)
        nn.init.zeros_(self.fc.bias)
        self.sizes = list(range(num_frames, 1, -1))
        self.tuples = [list(combinations(range(num_frames), size)) for size in self.sizes]
        self.relations = nn.ModuleList(
            nn.Sequential(nn.ReLU(), nn.Linear(size * _HIDDEN, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, num_classes))
            for size in self.sizes
        )
        generator = np.random.RandomState(EVALUATION_SEED)
        # All frames in order, then draws without repetition for each smaller number of frames.
        self.fixed = [[0], *(list(generator.choice(len(t), min(_MAX_TUPLES, len(t)), False)) for t in self.tuples[1:])]

    def _chosen(self) -> list[list[int]]:
        """For each number of frames, the positions in ``tuples`` to relate."""
        if not self.training:
            return self.fixed
        return [torch.randperm(len(known))[:_MAX_TUPLES].tolist() for known in self.tuples]

    def forward(self, features: Tensor, num_frames: int) -> Tensor:
        """[N*T, D, h, w] -> [N, K], in float32 at least.

        Raises:
            ValueError: clips of another number of frames than the head was made for.
        """
        if num_frames != self.num_frames:
            raise ValueError(f"made for clips of {self.num_frames} frames, not {num_frames}")
        frames = self.fc(self.dropout(features.mean(dim=(2, 3)))).unflatten(0, (-1, num_frames))  # [N, T, R]
        scores: Tensor | None = None
        for known, chosen, relation in zip(self.tuples, self._chosen(), self.relations, strict=True):
            for position in chosen:
                related = relation(frames[:, list(known[position])].flatten(1))  # [N, size * R] -> [N, K]
                # Scores of half precision are added up in single.
                related = related.to(torch.promote_types(related.dtype, torch.float32))
                scores = related if scores is None else scores + related
        assert scores is not None
        return scores
