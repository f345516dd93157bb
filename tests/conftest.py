"""Fixtures for all rooms: videos whose frames show their own numbers, and the odd files of ``odd_media.py``."""

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_media = _load("odd_media")


class OddMedia(Mapping[str, Path]):
    """Name -> file, written when it is first asked for; ``good`` and ``bad`` are the names."""

    good = tuple(_media.GOOD)
    bad = tuple(_media.BAD)

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __getitem__(self, name: str) -> Path:
        path = self._folder / name
        if not path.exists():
            write = _media.GOOD.get(name) or _media.BAD[name]
            write(path)
        return path

    def __iter__(self) -> Iterator[str]:
        return iter((*self.good, *self.bad))

    def __len__(self) -> int:
        return len(self.good) + len(self.bad)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``good_name`` and ``bad_name`` run a test once per odd file."""
    for argument, names in (("good_name", OddMedia.good), ("bad_name", OddMedia.bad)):
        if argument in metafunc.fixturenames:
            metafunc.parametrize(argument, names)


@pytest.fixture(scope="session")
def odd_media(tmp_path_factory: pytest.TempPathFactory) -> OddMedia:
    """The odd files by name; see ``odd_media.py`` for what is in each."""
    return OddMedia(tmp_path_factory.mktemp("odd_media"))


@pytest.fixture(scope="session")
def numbered_video() -> Callable[..., Path]:
    """``numbered_video(path, num_frames, ...)`` writes a video whose frame i shows i; see ``odd_media.py``."""
    return _media.numbered_video


@pytest.fixture(scope="session")
def draw_number() -> Callable[[int, int, int], np.ndarray]:
    """``draw_number(height, width, number)`` -> uint8 [height, width, 3]."""
    return _media.draw_number


@pytest.fixture(scope="session")
def read_numbers() -> Callable[[np.ndarray], list[int]]:
    """``read_numbers(frames [N, H, W, 3])`` -> the numbers that the frames show."""
    return lambda frames: [_media.read_number(np.asarray(frame)) for frame in frames]
