"""Data sets in miniature, with real clips as the videos."""

import importlib.util
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

Sample = tuple[str, str, tuple[str, ...]]


@dataclass(frozen=True)
class Miniature:
    """What a published folder holds, and what packing it must give."""

    lists: Mapping[str, str]
    """Annotation file below the source folder -> its text."""
    videos: tuple[str, ...]
    samples: frozenset[Sample]
    """(id, split, class names) of all packed samples."""
    indices: Mapping[str, int]
    """Class name -> index that the field uses."""
    unlisted: int = 0
    missing: int = 0
    frames: tuple[str, ...] = ()
    """Folders of three JPEG pictures each."""
    pickles: Mapping[str, object] = field(default_factory=dict)
    media: Mapping[str, bytes] = field(default_factory=dict)
    """Other media files below the source folder -> content."""
    profile: str = "copy"
    """That it must be packed with."""
    notes: Mapping[str, object] = field(default_factory=dict)
    """Id -> its captions, its segments as (start, end, class name), its boxes as (frame, x1, y1, x2, y2, class names,
    person), its moments as (start, end, text), or its questions as (id, text, answers, labels, choices, right one)."""


def _load(name: str) -> dict[str, dict[str, Any]]:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    table: dict[str, dict[str, Any]] = module.MINIATURES
    return table


MINIATURES = {
    name: Miniature(**values)
    for file in ("recognition_miniatures", "other_miniatures", "text_miniatures", "ava_miniatures")
    for name, values in _load(file).items()
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``recipe_name`` runs a test once per recipe that has a miniature."""
    if "recipe_name" in metafunc.fixturenames:
        metafunc.parametrize("recipe_name", MINIATURES)


@pytest.fixture(scope="session")
def miniatures() -> dict[str, Miniature]:
    """All miniatures by the names of their recipes."""
    return MINIATURES


@pytest.fixture
def published(tree, tmp_path) -> Callable[[str], tuple[Path, Miniature]]:
    """``published("ucf101")`` writes a miniature; gives its folder and what it holds."""

    def write(name: str) -> tuple[Path, Miniature]:
        miniature = MINIATURES[name]
        root = tree(*miniature.videos, root=tmp_path / name)
        for file, text in miniature.lists.items():
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_bytes(text.encode())
        for file, data in miniature.media.items():
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_bytes(data)
        for folder in miniature.frames:
            (root / folder).mkdir(parents=True, exist_ok=True)
            for number in (1, 2, 3):
                _, data = cv2.imencode(".jpg", np.full((24, 32, 3), 60 * number, np.uint8))
                (root / folder / f"{number:05d}.jpg").write_bytes(data.tobytes())
        for file, value in miniature.pickles.items():
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_bytes(pickle.dumps(value))
        return root, miniature

    return write
