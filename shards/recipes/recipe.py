"""A recipe as data: what a data set needs, where its owners publish it, and how its lists are read."""

import difflib
import importlib.resources
import tomllib
from functools import cache
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from vidflow.dataset import Task
from vidflow.errors import ConfigError
from vidflow.schema import Frozen

ClassList = Literal[
    "lines",
    "number name",
    "name,number",
    "json",
    "json parts",
    "json names",
    "gym",
    "tag,category",
    "tubes",
    "pbtxt",
    "sorted",
    "numbers",
    "none",
]
Fold = int | str


class AnnotationFile(Frozen):
    """One file, or several of one pattern, that the owners publish beside the media."""

    role: str
    """``classes``, the split that it lists, or ``lists`` for files that list several splits."""
    names: tuple[str, ...] = Field(min_length=1)
    """Names that the file goes by, the owners' first; ``{fold}`` and ``{fold:02d}`` stand for the fold, ``*`` for a
    class."""
    media: str = ""
    """Folder that the paths in this list are relative to, where lists differ in it."""
    content: str = ""
    """What the parser shall take it for, where files of several kinds have one role."""
    optional: bool = False
    """Whether the data set can be packed without it."""


class Count(Frozen):
    """How many videos a split lists, as a source says."""

    split: str
    videos: int = Field(gt=0)
    fold: Fold | None = None
    source: str
    exact: bool = True
    """Whether every copy of the lists has just as many; where links die or lists come in versions, they do not."""


class Recipe(Frozen):
    """One TOML file below ``shards/recipes``."""

    name: str
    title: str
    kind: Literal["video", "frames", "feature", "skeleton"] = "video"
    """Kind of the samples; ``skeleton`` without a parser is one pickle {split, annotations} as MMAction2 and PYSKL
    publish them."""
    task: Task = "recognition"
    multi_label: bool = False
    page: str = Field(pattern=r"^https?://")
    """Where the owners publish it."""
    paper: str
    licence: str
    num_classes: int = Field(ge=0)
    class_list: ClassList
    """Format of the file with role ``classes``; ``sorted`` takes the names in the lists in alphabetical order,
    ``numbers`` names the classes by their numbers, ``none`` is for captions without classes."""
    exact_paths: bool = False
    """Whether each file lies just where the lists say, below the folder for the videos; others are not looked at."""
    pictures: bool = False
    """Whether the files are pictures, each a sample of one frame."""
    class_folders: bool = False
    """Whether videos may lie in a folder per class: a file in another class's folder is then never taken."""
    parser: str = ""
    """Name in ``parsers.PARSERS``; skeletons in one pickle need none."""
    fps: float | None = Field(default=None, gt=0)
    """Of frames that were extracted, or videos that were encoded, at a fixed rate; and of clips that are cut."""
    timeline: tuple[float, float] | None = None
    """Start and end in seconds of what is annotated of each long video; None where samples are whole files."""
    clip_seconds: float = Field(default=0, ge=0)
    """Usual length of the clips that long videos are cut into; 0 keeps what is annotated of each in one piece."""
    starts: dict[str, float] = {}
    """Folder of ``media`` -> second of the original videos at which its files begin; 0 where it is not named."""
    spans_in_names: bool = False
    """Whether files are called ``<video>_<start>_<end>``, in seconds of the original video."""
    max_people: int | None = Field(default=None, gt=0)
    """Of skeletons: of more people in a frame, or in a sample, the foremost are kept."""
    splits: tuple[str, ...] = Field(min_length=1)
    """Packed unless others are asked for."""
    more_splits: tuple[str, ...] = ()
    """Packed when they are asked for."""
    folds: tuple[Fold, ...] = ()
    """Numbers or names of the published ways to split; empty where there is one."""
    media: tuple[str, ...] = ()
    """Folders for the videos, of which the first that exists is searched at any depth; else the source folder is."""
    annotations: tuple[str, ...] = ()
    """Folders that may hold the annotation files, beside the source folder itself."""
    files: tuple[AnnotationFile, ...] = Field(min_length=1)
    counts: tuple[Count, ...] = ()
    layout: str
    """The tree below the source folder, for people."""
    note: str = ""

    @model_validator(mode="after")
    def _parts_fit(self) -> "Recipe":
        known = {*self.splits, *self.more_splits}
        roles = {file.role for file in self.files}
        if strange := roles - known - {"classes", "lists"}:
            raise ValueError(f"files with the unknown roles {', '.join(sorted(strange))}")
        if "lists" not in roles and (missing := known - roles):
            raise ValueError(f"no file lists the splits {', '.join(sorted(missing))}")
        if (self.class_list in ("sorted", "numbers", "none")) == ("classes" in roles):
            raise ValueError("either a file has the role classes, or class_list is sorted, numbers or none")
        if strange := {count.split for count in self.counts} - known:
            raise ValueError(f"counts of the unknown splits {', '.join(sorted(strange))}")
        if strange_folds := {count.fold for count in self.counts} - {*self.folds, None}:
            raise ValueError(f"counts of the unknown folds {strange_folds}")
        return self

    def file_names(self, file: AnnotationFile, fold: Fold | None) -> tuple[str, ...]:
        """The names of a file for one fold."""
        return tuple(name.format(fold=fold) for name in file.names)

    @property
    def texts(self) -> str:
        """What samples without classes have in their place."""
        return {"grounding": "sentences", "question-answering": "choices"}.get(self.task, "captions")

    def counts_of(self, fold: Fold | None) -> tuple[Count, ...]:
        """Counts that hold for one fold."""
        return tuple(count for count in self.counts if count.fold in (None, fold))


@cache
def recipe_names() -> tuple[str, ...]:
    """All recipes, in alphabetical order."""
    folder = importlib.resources.files("vidflow.shards.recipes")
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


@cache
def load_recipe(name: str) -> Recipe:
    """The recipe of a data set.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in recipe_names():
        near = difflib.get_close_matches(name.lower(), recipe_names(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "`vidflow recipes` lists all"
        raise ConfigError(f"no recipe {name!r}; {hint}")
    text = (importlib.resources.files("vidflow.shards.recipes") / f"{name}.toml").read_text(encoding="utf-8")
    try:
        return Recipe.model_validate({"name": name, **tomllib.loads(text)})
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise AssertionError(f"recipe {name}: {error}") from error
