"""What a folder of extracted files remembers: which command made which files from what.

``OUT/.vidflow/COMMAND/`` holds a lock, the command's options, and ``done.jsonl`` with one line per finished job. The
line is written before its files get their names, and a job counts as done only where the line and all files are there;
so a killed run leaves neither a half file nor one that nobody answers for.
"""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vidflow.errors import DataError, StorageError
from vidflow.shards.files import naming_the_path, write_whole
from vidflow.shards.journal import FOLDER_NAME, differences

FAILED_NAME = "failed.jsonl"
_PARTS = "parts-"


@dataclass(frozen=True, slots=True)
class Line:
    """One finished job."""

    id: str
    recipe: str
    """Hash of the command's options and of the job's own, see ``recipe_of``."""
    size: int
    mtime_ns: int
    """Of the source, when it was read."""
    outputs: tuple[str, ...]
    """Paths below the output folder."""
    sizes: tuple[int | None, ...]
    """Bytes of each output; None for a folder."""
    note: dict[str, Any] | None = None
    """What the work said about its result."""


def recipe_of(options: Mapping[str, Any], details: Mapping[str, Any]) -> str:
    """What tells results of other options apart, as a short hash."""
    text = json.dumps([dict(options), dict(details)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Ledger:
    """The memory of one command in one output folder; use it as a context manager, which locks it."""

    def __init__(self, out: Path, command: str) -> None:
        self.out, self.command = out, command
        self.folder = out / FOLDER_NAME / command
        self.lines: dict[str, Line] = {}
        self._lock: int | None = None

    def __enter__(self) -> "Ledger":
        """Lock the folder, and read what earlier runs have done.

        Raises:
            StorageError: another run has it, or it cannot be made.
        """
        if self.out.exists() and not self.out.is_dir():
            raise StorageError(f"{self.out}: not a folder; give another --out")
        with naming_the_path(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._unlock()
            raise StorageError(
                f"{self.out}: another `{self.command}` is writing here; wait for it, or give another --out"
            ) from error
        try:
            self._remove_parts()
            self._read()
        except BaseException:
            self._unlock()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._remove_parts()
        self._unlock()

    def _unlock(self) -> None:
        assert self._lock is not None
        os.close(self._lock)
        self._lock = None

    @property
    def _path(self) -> Path:
        return self.folder / "done.jsonl"

    def _remove_parts(self) -> None:
        for path in self.folder.glob(f"{_PARTS}*"):
            shutil.rmtree(path, ignore_errors=True)

    def _read(self) -> None:
        if not self._path.exists():
            return
        data = self._path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):  # a line that a killed run could not finish
            os.truncate(self._path, whole)
        for number, text in enumerate(data[:whole].splitlines(), 1):
            try:
                values = json.loads(text)
                line = Line(**values | {"outputs": tuple(values["outputs"]), "sizes": tuple(values["sizes"])})
            except (ValueError, TypeError, KeyError) as error:
                raise DataError(
                    f"{self._path}:{number}: not a line of this version; remove {self.folder} and its files"
                ) from error
            self.lines[line.id] = line

    def start(self, options: dict[str, Any], *, overwrite: bool) -> None:
        """Note the options of this run.

        Raises:
            DataError: earlier results were made with others; says which.
        """
        path = self.folder / "options.json"
        if path.exists() and self.lines and not overwrite:
            found = differences(json.loads(path.read_bytes()), json.loads(json.dumps(options)))
            if found:
                raise DataError(
                    f"{self.out}: holds results of another `{self.command}`: {'; '.join(found)}; "
                    "give --overwrite to make them anew, or another --out"
                )
        write_whole(path, json.dumps(options).encode(), part=self.folder / "options.json.part")

    def parts_folder(self) -> Path:
        """A fresh folder for files that have no name yet, on the file system of the output."""
        # A name of its own: workers of a killed run may still be writing for a moment.
        with naming_the_path(self.folder):
            return Path(tempfile.mkdtemp(prefix=_PARTS, dir=self.folder))

    def is_done(self, id: str, recipe: str, outputs: tuple[str, ...], size: int, mtime_ns: int) -> bool:
        """Whether a job's files are there, made by the same options from the same source."""
        line = self.lines.get(id)
        if line is None or (line.recipe, line.outputs, line.size, line.mtime_ns) != (recipe, outputs, size, mtime_ns):
            return False
        for name, length in zip(line.outputs, line.sizes, strict=True):
            path = self.out / name
            if not (path.is_dir() if length is None else path.is_file() and path.stat().st_size == length):
                return False
        return True

    def strangers(self, id: str, outputs: tuple[str, ...]) -> list[str]:
        """Outputs of a job that are there and that no earlier run of it has made."""
        own = self.lines[id].outputs if id in self.lines else ()
        return [name for name in outputs if name not in own and os.path.lexists(self.out / name)]

    def orphans(self, ids: Collection[str]) -> list[Line]:
        """Earlier jobs that are none of these, and of which something is still there."""
        taken = {name for line in self.lines.values() if line.id in ids for name in line.outputs}
        return [
            line
            for line in self.lines.values()
            if line.id not in ids
            and any(name not in taken and os.path.lexists(self.out / name) for name in line.outputs)
        ]

    def publish(self, line: Line, parts: tuple[Path, ...]) -> None:
        """Give the files of a job their names, in place of those of an earlier run.

        Raises:
            StorageError: they cannot be moved; nothing is lost that another run cannot make again.
        """
        earlier = self.lines[line.id].outputs if line.id in self.lines else ()
        with naming_the_path(self.out / line.outputs[0]):
            for name in earlier:
                path = self.out / name
                if path.is_dir() and not path.is_symlink():
                    # Out of the way first: a folder that is deleted piece by piece must not look whole.
                    doomed = parts[0].with_name(f"{parts[0].name}.old")
                    path.replace(doomed)
                    shutil.rmtree(doomed)
                else:
                    path.unlink(missing_ok=True)
            with self._path.open("ab", buffering=0) as file:
                file.write(json.dumps(asdict(line)).encode() + b"\n")
            for part, name in zip(parts, line.outputs, strict=True):
                path = self.out / name
                path.parent.mkdir(parents=True, exist_ok=True)
                part.replace(path)
        self.lines[line.id] = line

    def note_failures(self, failures: list[dict[str, str]]) -> None:
        """Write this command's part of failed.jsonl; lines of other commands stay."""
        path = self.out / FAILED_NAME
        others = []
        if path.exists():
            lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
            others = [text for text in lines if _command_of(text) != self.command]
        texts = [*others, *(json.dumps({"command": self.command, **failure}) for failure in failures)]
        if texts:
            data = "".join(f"{text}\n" for text in texts).encode("utf-8", "surrogateescape")
            write_whole(path, data, part=self.folder / f"{FAILED_NAME}.part")
        else:
            path.unlink(missing_ok=True)


def _command_of(text: str) -> str | None:
    """Which command has written a line of failed.jsonl; None for a line of others."""
    try:
        values = json.loads(text)
    except ValueError:
        return None
    return values.get("command") if isinstance(values, dict) else None
