"""Where the finished files of a packed data set end up: the folder they are made in, or a place they are sent to."""

import os
from pathlib import Path
from typing import Protocol

from vidflow.errors import StorageError
from vidflow.storage import is_remote

CLAIM_NAME = ".vidflow-run.json"
"""The object that says which run is at work below a prefix of S3; it goes with the end of the run."""


def same_place(first: str | os.PathLike[str], second: str | os.PathLike[str]) -> bool:
    """Whether two folders or addresses are one, however they are spelled."""
    one, other = os.fspath(first), os.fspath(second)
    if is_remote(one) or is_remote(other):
        return one.rstrip("/") == other.rstrip("/")
    return Path(one).resolve() == Path(other).resolve()


class Target(Protocol):
    """The place of one data set. A file appears there whole, under its final name, or not at all."""

    root: str
    """Its path or address, for messages."""
    is_remote: bool
    """Whether files are made elsewhere first and sent."""

    def sizes(self) -> dict[str, int]:
        """Name -> bytes of all files directly below the root."""
        ...

    def read(self, name: str) -> bytes:
        """The content of a small file."""
        ...

    def put(self, path: Path) -> None:
        """Publish a finished file of this machine under its own name; where it is sent, it goes from here."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file if it is there."""
        ...

    def claim(self, token: str) -> None:
        """Keep the runs of other machines out, where the lock of this one does not reach.

        Args:
            token: of this run; a rerun has the same.

        Raises:
            StorageError: another run is at work there, or was interrupted.
        """
        ...

    def confirm_claim(self) -> None:
        """Make sure that no other run has taken the place over.

        Raises:
            StorageError: one has.
        """
        ...

    def release(self, token: str) -> None:
        """Let the runs of other machines in, if the claim is that of the token."""
        ...


class FolderTarget:
    """A folder on a file system; files are finished in it, so that there is nothing left to do."""

    is_remote = False

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, str(folder)

    def sizes(self) -> dict[str, int]:
        return {path.name: path.stat().st_size for path in sorted(self.folder.iterdir()) if path.is_file()}

    def read(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise StorageError(f"{self.folder / name}: {error.strerror}") from error

    def put(self, path: Path) -> None:
        assert path.parent == self.folder

    def remove(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)

    def claim(self, token: str) -> None:
        """Nothing: the journal's lock is in the same folder."""

    def confirm_claim(self) -> None:
        """Nothing."""

    def release(self, token: str) -> None:
        """Nothing."""


def open_target(out: Path | str, work_dir: Path | None = None) -> tuple[Target, Path]:
    """The target of an ``--out``, and the folder in which its files are made.

    Args:
        out: a folder, or ``s3://bucket/prefix``.
        work_dir: holds the folder for a target elsewhere; by default it lies in the user's cache.

    Raises:
        StorageError: nothing can be written to such an address.
    """
    if isinstance(out, Path) or not is_remote(out):
        folder = Path(str(out).removeprefix("file://"))
        return FolderTarget(folder), folder
    if not out.startswith("s3://"):
        raise StorageError(f"--out {out}: cannot be written to; give a folder or s3://BUCKET/PREFIX")
    from vidflow.shards.sending import S3Target, work_folder

    target = S3Target(out)
    return target, work_folder(target.root, work_dir)
