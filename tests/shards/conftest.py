"""Small real clips, source trees made of them, and packing them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import webdataset

from vidflow.shards.pack import PackOptions, PackReport, pack
from vidflow.shards.sources.items import SourceItem, SourceList


@pytest.fixture(scope="session")
def clips(tmp_path_factory, numbered_video) -> list[bytes]:
    """Four H.264 clips of 64 x 48 pixels with 5 to 8 frames; clip i shows numbers from 100 i on."""
    folder = tmp_path_factory.mktemp("clips")
    made = []
    for i in range(4):
        path = numbered_video(folder / f"{i}.mp4", 5 + i, height=48, width=64, first_number=100 * i)
        made.append(path.read_bytes())
    return made


@pytest.fixture
def tree(tmp_path, clips) -> Callable[..., Path]:
    """``tree("train/run/a.mp4", ...)`` writes clips 0, 1, 2, 3, 0, ... under these names below one folder."""

    def write(*names: str | bytes, root: Path = tmp_path / "source") -> Path:
        for i, name in enumerate(names):
            path = Path(os.fsdecode(os.path.join(os.fsencode(root), os.fsencode(name))))  # noqa: PTH118
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(clips[i % len(clips)])
        return root

    return write


@pytest.fixture
def items(tmp_path, clips) -> Callable[[int], SourceList]:
    """``items(n)``: a source of n clips of class "a", all in train."""

    def make(count: int, sizes: list[int] | None = None) -> SourceList:
        folder = tmp_path / "items"
        folder.mkdir(exist_ok=True)
        made = []
        for i in range(count):
            path = folder / f"{i:04d}.mp4"
            data = clips[i % len(clips)]
            if sizes is not None:
                data += free_box(sizes[i] - len(data))
            path.write_bytes(data)
            made.append(SourceItem(str(path), path.name, "train", (0,)))
        return SourceList("items", tuple(made), ("a",))

    return make


def free_box(size: int) -> bytes:
    """An MP4 box that every reader passes over, to make a file larger (ISO/IEC 14496-12, 8.1.2)."""
    assert size >= 8
    return size.to_bytes(4, "big") + b"free" + bytes(size - 8)


@pytest.fixture
def packed(tmp_path) -> Callable[..., PackReport]:
    """``packed(source, "name", max_count=2)`` packs into tmp_path/name with one worker."""

    def run(
        source: SourceList, out: str = "out", *, workers: int = 1, overwrite: bool = False, **options
    ) -> PackReport:
        max_rejects = options.pop("max_rejects", None)
        return pack(
            source,
            tmp_path / out,
            PackOptions(**options),
            workers=workers,
            max_rejects=max_rejects,
            overwrite=overwrite,
        )

    return run


@pytest.fixture
def read_back() -> Callable[[Path], list[dict[str, object]]]:
    """All samples of a packed folder as plain webdataset gives them, shard after shard, undecoded but for the JSON."""

    def read(folder: Path) -> list[dict[str, object]]:
        samples = []
        for shard in sorted(folder.glob("*.tar")):
            for sample in webdataset.WebDataset(str(shard), shardshuffle=False):
                fields = {name: value for name, value in sample.items() if not name.startswith("__")}
                samples.append({"key": sample["__key__"], "fields": fields, "json": json.loads(fields["json"])})
        return samples

    return read


@pytest.fixture
def files_of() -> Callable[[Path], dict[str, bytes]]:
    """Name -> content of all files of a packed folder."""
    return lambda folder: {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def command() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """``command("shard", "--src", ...)`` runs vidflow in a process of its own."""

    def run(*arguments: object, **options) -> "subprocess.CompletedProcess[str]":
        line = [sys.executable, "-m", "vidflow", *map(str, arguments)]
        return subprocess.run(line, capture_output=True, text=True, timeout=120, check=False, **options)

    return run
