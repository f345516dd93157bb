"""What a peer is given to do: the same samples and the same clips as the loader that it is compared with."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from vidflow.config.pipeline import ClipPipeline
from vidflow.dataset import PackedDataset
from vidflow.errors import DataError
from vidflow.pipelines.reading import read_samples
from vidflow.schema import SampleRecord
from vidflow.storage import is_remote


@dataclass(frozen=True)
class PeerJob:
    """The samples of one pass, and how to batch them."""

    dataset: PackedDataset
    pipeline: ClipPipeline
    indices: np.ndarray
    """int64 [n], manifest positions."""
    batch_size: int
    num_workers: int
    """Processes of a DataLoader, or threads of DALI."""
    source: Path | None
    """Folder of the original files."""
    scratch: Path
    """Peers may write here; it goes after the bench."""

    @cached_property
    def records(self) -> list[SampleRecord]:
        return [self.dataset.record(int(index)) for index in self.indices]

    @cached_property
    def shards(self) -> list[str]:
        """Names of the shards that hold the samples."""
        return sorted(set(self.dataset.column("shard")[self.indices].tolist()))

    def shard_paths(self) -> list[str]:
        """The shards as local files.

        Raises:
            DataError: the data set lies on a server.
        """
        if is_remote(self.dataset.storage.root):
            raise DataError(f"{self.dataset.storage.root}: this baseline reads local shards only")
        return [self.dataset.storage.address(name) for name in self.shards]

    def originals(self) -> list[Path]:
        """The files behind the samples: from the source folder, or taken out of ``copy`` shards.

        Raises:
            DataError: they are not there.
        """
        if self.source is not None:
            paths = [self.source / record.id for record in self.records]
            missing = [str(path) for path in paths if not path.is_file()]
            if missing:
                raise DataError(
                    f"{missing[0]}: not there, and {len(missing) - 1} more; --src must be the folder that was packed"
                )
            return paths
        if self.dataset.info.options.get("profile") != "copy":
            raise DataError(
                f"{self.dataset.storage.root}: not packed with profile copy; name the original files with --src DIR"
            )
        folder = self.scratch / "originals"
        folder.mkdir(exist_ok=True)
        paths = []
        for _, record, data in read_samples(self.dataset, self.indices):
            assert record.video is not None
            paths.append(folder / f"{record.key}.{record.video.container}")
            if not paths[-1].exists():
                paths[-1].write_bytes(data)
        return paths
