"""Multi-label classification: mean average precision over classes.

Shapes: N samples, K classes; ``scores`` float [N, K]; ``labels`` [N, K] of zeros and ones.
"""

import numpy as np

from vidflow.errors import DataError
from vidflow.evaluation.metric import ScoreStore


def average_precision(scores: np.ndarray, positive: np.ndarray) -> float:
    """Area under one class's precision-recall steps: the mean over positives of the precision at their score.

    Samples of equal score enter together, so their order cannot matter.

    Args:
        scores: [N].
        positive: bool [N], with at least one True.
    """
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(positive[order])
    last_of_tie = np.r_[np.flatnonzero(np.diff(scores[order])), len(scores) - 1]
    precision = hits[last_of_tie] / (last_of_tie + 1)
    gained = np.diff(np.r_[0, hits[last_of_tie]])
    return float((precision * gained).sum() / hits[-1])


class MultiLabelMetrics(ScoreStore):
    """mAP over the classes that have positives, and how many classes have none (they are left out).

    A positive that was missed is never found: it adds nothing to its class's precision, and counts in its recall.
    """

    def compute(self) -> dict[str, float]:
        """``mAP`` in [0, 1], ``classes_without_positives``, and ``num_missed`` where samples were missed.

        Raises:
            DataError: no class has a positive sample.
            ValueError: the labels are single ones.
        """
        _, scores, labels = self.arrays()
        if labels.shape != scores.shape:
            raise ValueError(
                f"mAP needs labels of zeros and ones [N, K] like the scores {list(scores.shape)}, not single labels"
            )
        positive = labels > 0.5
        present = np.flatnonzero(positive.any(0))
        if not len(present):
            raise DataError(
                f"mAP: none of {labels.shape[1]} classes has a positive among {len(labels)} samples; "
                "check the split's labels"
            )
        read = ~self.missed_rows()
        found = positive[read].sum(0) / np.maximum(positive.sum(0), 1)
        values = [
            average_precision(scores[read, k], positive[read, k]) * found[k] if found[k] else 0.0 for k in present
        ]
        return {
            "mAP": float(np.mean(values)),
            "classes_without_positives": float(labels.shape[1] - len(present)),
            **self.num_missed(),
        }
