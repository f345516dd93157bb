"""What ``vidflow predict --draw`` writes: a video for each prediction."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from vidflow.config.any_pipeline import Pipeline
from vidflow.errors import ConfigError
from vidflow.inference.drawn_video import draw_video
from vidflow.inference.predict import FilePrediction
from vidflow.inference.samples import FileSample, OpenedSample
from vidflow.media.drawing import writable

_EXTENSION = ".mp4"
_NUM_WORDS = 3


class Drawing:
    """Draws into one file, or into a folder with a file for each sample.

    Args:
        out: a name that ends in ``.mp4``, for one sample; any other name is a folder.
        samples: all that will be predicted, in order.
        pipeline: its layout says which keypoints to join.
        given: the files and folders that were named for the samples.

    Raises:
        ConfigError: several samples for one file, a file that would replace a sample, a folder among what is predicted,
            or sound, which is not seen.
    """

    def __init__(self, out: Path, samples: Sequence[FileSample], pipeline: Pipeline, *, given: Iterable[Path]) -> None:
        if pipeline.kind == "audio":
            raise ConfigError(f"--draw {out}: of sound there is nothing to draw; leave it out")
        self.layout = getattr(pipeline, "layout", None)
        if out.suffix.lower() == _EXTENSION:
            if len(samples) != 1:
                raise ConfigError(f"--draw {out}: is one file for {len(samples)} predictions; give a folder")
            self.paths = [out]
        else:
            if out.exists() and not out.is_dir():
                raise ConfigError(f"--draw {out}: is a file; give a name that ends in {_EXTENSION}, or a folder")
            self.paths = [out / name for name in _names([sample.name for sample in samples])]
        predicted = {sample.path.resolve() for sample in samples}
        for path in self.paths:
            if path.resolve() in predicted:
                raise ConfigError(f"--draw {path}: would replace what is predicted; give another place")
        folders = predicted | {sample.path.parent.resolve() for sample in samples} | {path.resolve() for path in given}
        if self.paths != [out] and out.resolve() in folders:
            raise ConfigError(
                f"--draw {out}: holds what is predicted, and other files there could be replaced; give another folder"
            )

    def draw(self, number: int, prediction: FilePrediction, opened: OpenedSample) -> None:
        """Draw one prediction; one that has failed is not drawn.

        Args:
            number: of the sample.
            opened: what was read of it.

        Raises:
            DataError, StorageError: see ``draw_video``.
        """
        if prediction.error is None:
            words = [_words(found.label, found.name, found.score) for found in prediction.top[:_NUM_WORDS]]
            draw_video(self.paths[number], words, video=opened.video, figures=opened.figures(self.layout))


def _words(label: int, name: str, score: float) -> str:
    """A class and its score in letters that can be drawn.

    >>> _words(3, "jump up", 0.25), _words(3, "跳", 0.25)
    ('jump up 0.25', 'class 3 0.25')
    """
    return f"{name if writable(name) else f'class {label}'} {score:.2f}"


def _names(samples: Sequence[str]) -> list[str]:
    """File names of their own for samples of any folders: the sample's name, and a number where two have the same.

    >>> _names(["a/clip.avi", "b/clip.mp4", "set.pkl[x/S001]"])
    ['clip.mp4', 'clip-2.mp4', 'S001.mp4']
    """
    used: Counter[str] = Counter()
    names = []
    for sample in samples:
        stem = PurePath(sample.removesuffix("]").replace("[", "/") if sample.endswith("]") else sample)
        base = stem.name if sample.endswith("]") else stem.stem
        candidate, number = base, 1
        while used[candidate]:
            number += 1
            candidate = f"{base}-{number}"
        used[candidate] += 1
        names.append(candidate + _EXTENSION)
    return names
