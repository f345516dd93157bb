"""Labels of an annotation list: numbers or class names, checked before anything is packed."""

import difflib
import re
from collections.abc import Sequence

from vidflow.errors import ConfigError, DataError
from vidflow.shards.sources.items import class_name
from vidflow.shards.sources.lines import Row, raise_all

_LOOKS_LIKE_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_WHOLE_NUMBER = re.compile(r"[+-]?\d{1,4000}")  # Python makes no number of more digits
# So many classes without a sample are taken for a wrong label: this number, and so many for each class that has one.
_MAX_EMPTY, _MAX_EMPTY_EACH = 1000, 10


def resolve_labels(
    rows: Sequence[Row], *, classes: Sequence[str] | None, num_classes: int | None, first_label: int
) -> tuple[list[tuple[int, ...]], tuple[str, ...], list[str]]:
    """Class indices of each row, the class names, and warnings.

    With ``classes`` a label is one of these names or its number. Without, labels are numbers if any of them looks like
    one, and the classes are named by their numbers; else they are names, numbered in sorted order.

    Args:
        classes: class names in the order of their indices.
        num_classes: how many there are, where labels are numbers; None takes the largest, if it is not far beyond the
            number of different labels.
        first_label: the number of the first class in the list, 0 or 1.

    Raises:
        DataError: labels out of range, of no class or no whole numbers, each with file:line; or one that is too large.
        ConfigError: options that contradict each other.
    """
    if first_label not in (0, 1):
        raise ConfigError(f"--first-label {first_label}: must be 0 or 1")
    if num_classes is not None and num_classes < 1:
        raise ConfigError(f"--num-classes {num_classes}: must be at least 1")
    if classes is not None and num_classes not in (None, len(classes)):
        raise ConfigError(f"--num-classes {num_classes}: --classes has {len(classes)} names")
    tokens = {label for row in rows for label in row.labels}
    if classes is None and not any(_LOOKS_LIKE_NUMBER.fullmatch(token) for token in tokens):
        if num_classes is not None or first_label:
            raise ConfigError("--num-classes and --first-label are for labels that are numbers, these are names")
        if not tokens:
            raise DataError("no label in the whole list; give --classes for a list that has none yet")
        classes = sorted({class_name(token) for token in tokens})
    names = {name: index for index, name in enumerate(classes or ())}
    numbers = {
        token: int(token) for token in tokens if class_name(token) not in names and _WHOLE_NUMBER.fullmatch(token)
    }
    highest = max(numbers.values(), default=first_label)
    count = (
        len(classes)
        if classes is not None
        else num_classes
        if num_classes is not None
        else max(highest - first_label + 1, 1)
    )
    if classes is None and num_classes is None and count > _MAX_EMPTY + _MAX_EMPTY_EACH * len(set(numbers.values())):
        where = next(row.where for row in rows if any(numbers.get(label) == highest for label in row.labels))
        raise DataError(
            f"{where}: label {highest} makes {count} classes, and there are {len(set(numbers.values()))} different "
            "labels; mend it, or say how many classes there are by --num-classes or --classes"
        )

    problems, resolved = [], []
    for row in rows:
        indices = []
        for label in row.labels:
            index = names.get(class_name(label), numbers.get(label, -1) - first_label if label in numbers else None)
            if index is None or not 0 <= index < count:
                problems.append(f"{row.where}: {_what_is_wrong(label, numbers, names, count, first_label)}")
            else:
                indices.append(index)
        resolved.append(tuple(dict.fromkeys(indices)))
    raise_all(problems, "labels that do not fit", _hint(numbers, count, first_label))
    warnings = []
    if numbers and first_label == 0 and min(numbers.values()) == 1 and not names:
        warnings.append(
            f"no sample has label 0, labels run from 1 to {highest}; if the list counts from 1, give --first-label 1"
        )
    return resolved, tuple(classes) if classes is not None else tuple(str(index) for index in range(count)), warnings


def _what_is_wrong(label: str, numbers: dict[str, int], names: dict[str, int], count: int, first_label: int) -> str:
    if label in numbers:
        return f"label {label} lies outside [{first_label}, {first_label + count - 1}]"
    if names and not _LOOKS_LIKE_NUMBER.fullmatch(label):
        near = difflib.get_close_matches(class_name(label), names, n=1)
        return f"no class {label!r}" + (f"; did you mean {near[0]!r}?" if near else "")
    return f"label {label!r} is no whole number"


def _hint(numbers: dict[str, int], count: int, first_label: int) -> str:
    if not numbers:
        return ":"
    low, high = min(numbers.values()), max(numbers.values())
    text = f" (labels run from {low} to {high}, there are {count} classes)"
    if first_label == 0 and low == 1 and high == count:
        text += "; the list counts from 1: give --first-label 1"
    return text + ":"
