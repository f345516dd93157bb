"""What a metric is, and the store of scores by sample that ours are built on."""

from collections.abc import Iterable
from typing import Protocol, Self

import numpy as np

from vidflow.batch import Batch, SkippedSample
from vidflow.predictions import ClassPredictions


class Metric(Protocol):
    """Collects predictions batch by batch; ranks are merged before anything is computed."""

    def update(self, predictions: ClassPredictions, batch: Batch) -> None:
        """Take in one batch; rows marked as padding are passed over."""
        ...

    def merge(self, others: Iterable[Self]) -> None:
        """Take in what other ranks have collected."""
        ...

    def compute(self) -> dict[str, float]:
        """The numbers by name, over all samples collected."""
        ...


class ScoreStore:
    """Scores and labels by sample index. A sample that comes again is passed over: its scores are the same.

    A sample that could not be read is *missed*: it has no scores (they are NaN), and counts as wrong.
    """

    def __init__(self) -> None:
        self._rows: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.missed: dict[int, SkippedSample] = {}
        """Samples that could not be read, by index."""

    def __len__(self) -> int:
        return len(self._rows)

    def update(self, predictions: ClassPredictions, batch: Batch) -> None:
        """Take in one batch of scores [B, K] and labels [B] or [B, K]."""
        scores = predictions.scores.detach().float().cpu().numpy()
        scores = scores.copy() if batch.skipped else scores
        labels = batch.labels.cpu().numpy()
        if not len(scores) == len(labels) == len(batch):
            raise ValueError(f"{len(scores)} predictions and {len(labels)} labels for a batch of {len(batch)}")
        padding = batch.padding.cpu().numpy()
        for sample in batch.skipped:
            scores[sample.row] = np.nan
            if not padding[sample.row]:
                self.missed.setdefault(int(batch.indices[sample.row]), sample)
        for row in np.flatnonzero(~padding):
            self._rows.setdefault(int(batch.indices[row]), (scores[row], labels[row]))

    def merge(self, others: Iterable["ScoreStore"]) -> None:
        """Take in the samples of other ranks."""
        for other in others:
            for index, row in other._rows.items():
                self._rows.setdefault(index, row)
            self.missed |= other.missed

    def missed_rows(self) -> np.ndarray:
        """bool [N], the rows of ``arrays`` that have no scores."""
        return np.isin(sorted(self._rows), list(self.missed))

    def num_missed(self) -> dict[str, float]:
        """``num_missed``, where there are any."""
        return {"num_missed": float(len(self.missed))} if self.missed else {}

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Indices int64 [N] ascending, scores float32 [N, K], labels [N] or [N, K].

        Raises:
            ValueError: nothing was collected.
        """
        if not self._rows:
            raise ValueError("no predictions were collected")
        indices = sorted(self._rows)
        return (
            np.asarray(indices, np.int64),
            np.stack([self._rows[i][0] for i in indices]),
            np.stack([self._rows[i][1] for i in indices]),
        )
