"""The boxes of one sample in little memory: a data set may have a million before the first is written."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from vidflow.schema import TimedBox

# Shared by all boxes: a set for each would take more memory than the box.
_FIELDS = {"time", "x1", "y1", "x2", "y2", "labels", "person", "score"}


@dataclass(frozen=True, slots=True, eq=False)
class BoxTable:
    """Iterates as ``TimedBox``."""

    numbers: np.ndarray
    """float64 [N, 6]: seconds, x1, y1, x2, y2, and the score, NaN where there is none."""
    labels: tuple[tuple[int, ...], ...]
    """Class indices of the first boxes; the ones behind have none."""
    persons: tuple[int | None, ...]
    """Likewise."""

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[TimedBox]:
        for position, (time, x1, y1, x2, y2, score) in enumerate(self.numbers.tolist()):
            is_annotated = position < len(self.labels)
            yield TimedBox.model_construct(
                _FIELDS,
                time=time,
                x1=x1,
                y1=y1,
                x2=x2,
                y2=y2,
                labels=self.labels[position] if is_annotated else (),
                person=self.persons[position] if is_annotated else None,
                score=None if np.isnan(score) else score,
            )

    def moved(self, seconds: float) -> "BoxTable":
        """The same boxes so much earlier."""
        numbers = self.numbers.copy()
        numbers[:, 0] = np.round(numbers[:, 0] - seconds, 6)
        return BoxTable(numbers, self.labels, self.persons)


def joined(tables: Iterable[BoxTable]) -> BoxTable:
    """All boxes of several tables, the annotated ones first."""
    found = list(tables)
    if len(found) == 1:
        return found[0]
    annotated = [table.numbers[: len(table.labels)] for table in found]
    others = [table.numbers[len(table.labels) :] for table in found]
    return BoxTable(
        np.concatenate(annotated + others),
        tuple(labels for table in found for labels in table.labels),
        tuple(person for table in found for person in table.persons),
    )
