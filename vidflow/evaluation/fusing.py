"""Late fusion: one set of scores out of several models' scores of the same samples.

The fused scores are a weighted mean, of the scores as they are (by default) or of their logarithms. The second is the
geometric mean, which adds up evidence as adding logits does: two-stream networks ("Two-Stream Convolutional Networks",
arXiv:1406.2199) and the joint and bone streams of skeletons (2s-AGCN, arXiv:1805.07694) use the first.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Literal

import numpy as np

from vidflow.errors import ConfigError, DataError
from vidflow.evaluation.score_files import ScoreFile

Match = Literal["id", "stem", "order"]
_NUM_SHOWN = 3


def fuse(files: Sequence[ScoreFile], weights: Sequence[float], *, geometric: bool = False) -> ScoreFile:
    """The weighted mean of scores of samples that lie in the same order in all files; see ``align``.

    A sample that one file has missed is missed. Names of samples and of classes are those of the first file that has
    such. The mean is over the weights' sum, so that probabilities stay such.

    Args:
        weights: one per file, of any sum.
        geometric: average the logarithms; the classes of a sample sum to 1 again, unless it may have several.

    Raises:
        ConfigError: another number of weights, or weights that are negative, not finite, or all 0.
        DataError: ``geometric`` with negative scores.
    """
    if len(weights) != len(files):
        raise ConfigError(f"--weights: {len(weights)} for {len(files)} files; give one for each")
    if not all(np.isfinite(weight) and weight >= 0 for weight in weights) or not any(weights):
        raise ConfigError(
            f"--weights {' '.join(f'{w:g}' for w in weights)}: each must be a number from 0, and one must be positive"
        )
    shares = np.asarray(weights, np.float64) / np.sum(weights)
    if geometric:
        for file in files:
            if (file.scores < 0).any():
                raise DataError(f"{file.name}: has negative scores, which have no logarithm; give --softmax for logits")
        smallest = np.finfo(np.float32).tiny  # a class that one model excludes altogether still has a rank
        terms = [np.log(np.maximum(file.scores.astype(np.float64), smallest)) for file in files]
    else:
        terms = [file.scores.astype(np.float64) for file in files]
    fused = sum(share * term for share, term in zip(shares, terms, strict=True))
    if geometric:
        fused = np.exp(fused) if files[0].multi_label else _softmax(fused)
    return replace(
        files[0],
        name="the fused scores",
        scores=fused.astype(np.float32),
        ids=next((file.ids for file in files if file.ids is not None), None),
        classes=next((file.classes for file in files if file.classes is not None), None),
    )


def as_probabilities(file: ScoreFile) -> ScoreFile:
    """The softmax of a file's scores, for files that hold logits.

    Raises:
        ConfigError: a sample may have several classes, and their scores need not sum to 1.
    """
    if file.multi_label:
        raise ConfigError(f"--softmax: samples of {file.name} may have several classes, whose scores do not sum to 1")
    return replace(file, scores=_softmax(file.scores.astype(np.float64)).astype(np.float32))


def _softmax(logits: np.ndarray) -> np.ndarray:
    """[N, K] over the classes; rows of NaN stay such."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def align(files: Sequence[ScoreFile], *, match: Match | None = None, common: bool = False) -> list[ScoreFile]:
    """The same files with the same samples in the order of the first one.

    Args:
        match: ``id`` goes by the samples' ids; ``stem`` by ids without the extension, for streams that were packed from
            files of several kinds (clip.mp4 and clip.wav); ``order`` by the row. None goes by id, and by order where no
            file has ids.
        common: leave out samples that not all files have, in place of refusing.

    Raises:
        ConfigError: no files, or a match that the files do not allow.
        DataError: other samples, classes or labels in one file than in another.
    """
    if not files:
        raise ConfigError("no score files to fuse")
    for file in files[1:]:
        _check_num_classes(files[0], file)
    naming = [file for file in files if file.classes is not None]
    for file in naming[1:]:
        _check_class_names(naming[0], file)
    without = [file.name for file in files if file.ids is None]
    if match is None:
        match = "order" if len(without) == len(files) else "id"
    if match == "order":
        counts = {file.name: len(file.scores) for file in files}
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{name} has {count}" for name, count in counts.items())
            raise DataError(f"files that are matched by the order of rows need equally many samples: {told}")
        aligned = list(files)
    else:
        if without:
            raise ConfigError(
                f"{without[0]}: names no samples; where all files hold the same samples in the same order, give "
                "--match order"
            )
        aligned = _by_key(files, match, common=common)
    labels = next((file.labels for file in aligned if file.labels is not None), None)
    if labels is None:
        raise DataError(f"no file tells labels ({', '.join(file.name for file in files)}); add one that does")
    telling = [file for file in aligned if file.labels is not None]
    for file in telling[1:]:
        _check_same_labels(telling[0], file)
    return [replace(file, labels=labels, multi_label=any(other.multi_label for other in telling)) for file in aligned]


def _by_key(files: Sequence[ScoreFile], match: Match, *, common: bool) -> list[ScoreFile]:
    rows_of = [_rows(file, match) for file in files]
    shared = set.intersection(*(set(rows) for rows in rows_of))
    if not shared:
        examples = " and ".join(f"{next(iter(rows))!r} in {f.name}" for f, rows in zip(files, rows_of, strict=True))
        hint = "" if match == "stem" else "; --match stem goes by names without their extension"
        raise DataError(f"the files have no sample in common: {examples}{hint}")
    if not common:
        for file, rows in zip(files, rows_of, strict=True):
            for other, others in zip(files, rows_of, strict=True):
                if lacking := [name for name in others if name not in rows]:
                    raise DataError(
                        f"{file.name}: lacks {len(lacking)} of {len(others)} samples of {other.name}, such as "
                        f"{', '.join(map(repr, lacking[:_NUM_SHOWN]))}; --common fuses those that all files have"
                    )
    order = [name for name in rows_of[0] if name in shared]
    return [_taken(file, [rows[name] for name in order]) for file, rows in zip(files, rows_of, strict=True)]


def _rows(file: ScoreFile, match: Match) -> dict[str, int]:
    """Key -> row."""
    assert file.ids is not None
    keys = [_stem(name) if match == "stem" else name for name in file.ids]
    twice = [key for key, count in Counter(keys).items() if count > 1]
    if twice:
        raise DataError(f"{file.name}: has several samples called {twice[0]!r} without their extensions; match by id")
    return {key: row for row, key in enumerate(keys)}


def _stem(name: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.name else name  # "." and "/" have no name to take a suffix from


def _taken(file: ScoreFile, rows: list[int]) -> ScoreFile:
    assert file.ids is not None
    return replace(
        file,
        scores=file.scores[rows],
        ids=tuple(file.ids[row] for row in rows),
        labels=None if file.labels is None else tuple(file.labels[row] for row in rows),
    )


def _check_num_classes(first: ScoreFile, other: ScoreFile) -> None:
    ours, theirs = first.scores.shape[1], other.scores.shape[1]
    if ours != theirs:
        raise DataError(f"{other.name}: has scores of {theirs} classes, {first.name} of {ours}")


def _check_class_names(first: ScoreFile, other: ScoreFile) -> None:
    assert first.classes is not None
    assert other.classes is not None
    if first.classes != other.classes:
        number, ours_name, theirs_name = next(
            (number, *pair)
            for number, pair in enumerate(zip(first.classes, other.classes, strict=True))
            if pair[0] != pair[1]
        )
        raise DataError(
            f"{other.name}: class {number} is {theirs_name!r}, in {first.name} it is {ours_name!r}; fuse models of the "
            "same classes in the same order"
        )


def _check_same_labels(first: ScoreFile, other: ScoreFile) -> None:
    assert first.labels is not None
    assert other.labels is not None
    pairs = zip(first.labels, other.labels, strict=True)
    wrong = [row for row, (ours, theirs) in enumerate(pairs) if sorted(ours) != sorted(theirs)]
    if wrong:
        row = wrong[0]
        raise DataError(
            f"{other.name}: {len(wrong)} of {len(other.labels)} samples have other labels than in {first.name}, such "
            f"as {other.named(row)} with {list(other.labels[row])} and {list(first.labels[row])}; are the files of "
            "one split, and of one packing?"
        )
