"""Single-label classification: top-k, mean class accuracy, macro-F1 and the confusion matrix.

Shapes: N samples, K classes; ``scores`` float [N, K], larger is likelier; ``labels`` int [N] in [0, K).
Of equal scores the lower class index counts as the better one, in every number alike.
"""

import numpy as np

from vidflow.evaluation.metric import ScoreStore


def top_k_accuracy(scores: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Part of the samples whose label is among the k best classes; k counts as K where there are fewer classes."""
    own = np.take_along_axis(scores, labels[:, None], axis=1)  # [N, 1]
    ahead = (scores > own) | ((scores == own) & (np.arange(scores.shape[1]) < labels[:, None]))
    # A score that is not a number can be neither ahead nor behind: such a sample counts as wrong.
    return float(((ahead.sum(1) < k) & np.isfinite(own[:, 0])).mean())


def confusion_matrix(predicted: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """int64 [K, K], entry (i, j) counts samples of class i that were taken for class j."""
    return np.bincount(labels * num_classes + predicted, minlength=num_classes**2).reshape(num_classes, num_classes)


def mean_class_accuracy(matrix: np.ndarray, missed: np.ndarray | int = 0) -> float:
    """Mean of the classes' recalls, over the classes that have samples or predictions.

    Args:
        missed: int [K], samples of each class without a prediction, which are not in the matrix.

    A class that is only predicted counts as 0, as in MMAction2's published numbers; scikit-learn's balanced accuracy
    leaves it out. Where every class has samples the two are the same.
    """
    own = matrix.sum(1) + missed
    present = own + matrix.sum(0) > 0
    return float((matrix.diagonal()[present] / np.maximum(own[present], 1)).mean())


def macro_f1(matrix: np.ndarray, missed: np.ndarray | int = 0) -> float:
    """Mean of the classes' F1, over the classes that have samples or predictions (as scikit-learn counts them).

    Args:
        missed: as in ``mean_class_accuracy``.
    """
    present = matrix.sum(1) + missed + matrix.sum(0)
    return float((2 * matrix.diagonal()[present > 0] / present[present > 0]).mean())


class ClassificationMetrics(ScoreStore):
    """top1, top5, mean_class_accuracy and macro_f1, each in [0, 1], and num_missed where samples were missed."""

    def matrix(self) -> np.ndarray:
        """Confusion matrix int64 [K, K], rows are the true classes; without the samples that were missed."""
        _, scores, labels = self._single_label()
        read = ~self.missed_rows()
        return confusion_matrix(scores[read].argmax(1), labels[read], scores.shape[1])

    def _single_label(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        indices, scores, labels = self.arrays()
        if labels.ndim != 1:
            raise ValueError(
                f"single-label metrics need one label per sample, not labels of shape {list(labels.shape)}"
            )
        return indices, scores, labels

    def compute(self) -> dict[str, float]:
        _, scores, labels = self._single_label()
        matrix = self.matrix()
        missed = np.bincount(labels[self.missed_rows()], minlength=len(matrix))
        return {
            "top1": top_k_accuracy(scores, labels, 1),
            "top5": top_k_accuracy(scores, labels, 5),
            "mean_class_accuracy": mean_class_accuracy(matrix, missed),
            "macro_f1": macro_f1(matrix, missed),
            **self.num_missed(),
        }
