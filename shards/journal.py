"""The journal of an unfinished packing run: what makes a rerun of the same command go on where the last one stopped.

``OUT/.vidflow/`` holds a lock, the command's options, the list of sources, and one small file per published shard with
its manifest rows. A shard counts only once its journal entry is there; a shard without one is packed again, to the same
bytes. The folder goes when dataset.json is published.
"""

import fcntl
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

from vidflow.dataset import ShardInfo
from vidflow.errors import DataError, StorageError
from vidflow.schema import Frozen
from vidflow.shards.files import naming_the_path, write_whole
from vidflow.shards.target import FolderTarget, Target

FOLDER_NAME = ".vidflow"
_OPTIONS_NAME = "options.json"
_SOURCES_NAME = "sources.jsonl"
_CLAIM_NAME = "claim"
_CLEARING_NAME = "clearing"
_MAX_SHOWN = 100  # characters of a value in a message


class Rejected(Frozen):
    """One line of rejected.jsonl: a sample that could not be packed."""

    key: str
    id: str
    split: str
    labels: tuple[int, ...]
    stage: str
    """``open``, ``probe``, ``encode`` or ``copy``."""
    reason: str

    @property
    def kind(self) -> str:
        """The reason without its numbers and details, for counting."""
        return kind_of(self.stage, self.reason)


def kind_of(stage: str, reason: str) -> str:
    """A reason without its numbers and details, for counting.

    >>> kind_of("probe", "damaged at packet 3 of 60, after 2 frames: cut off")
    'probe: damaged'
    """
    return f"{stage}: {re.split(r'[:;,(]| at ', reason, maxsplit=1)[0].strip()}"


class Entry(Frozen):
    """A published shard."""

    shard: ShardInfo
    next_ordinal: int
    """All samples before this one are settled: packed in this or an earlier shard, or rejected."""
    rows: tuple[dict[str, Any], ...]
    """Manifest rows, see ``vidflow.manifest.to_row``."""
    rejected: tuple[Rejected, ...]
    """Samples rejected since the previous entry."""


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What differs between two option tables, in words."""
    names = sorted(old.keys() | new.keys())
    changed = [(name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)]
    return [f"{name} was {_short(before)} and is now {_short(now)}" for name, before, now in changed]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


class Journal:
    """The journal below one output folder; ``lock`` it, then ``resume`` or else ``start``."""

    def __init__(self, out: Path, target: Target | None = None) -> None:
        """Args:
        out: the folder that shards are made in.
        target: where they end up, if not there.
        """
        self.out = out
        self.target = FolderTarget(out) if target is None else target
        self.folder = out / FOLDER_NAME
        self._entries = self.folder / "shards"
        self._lock: int | None = None
        self.claimed = False
        """Whether no other machine can be at work in the target."""

    def lock(self) -> None:
        """Keep a second run out; the lock ends with the process.

        Raises:
            StorageError: another run has it, or the folder cannot be made.
        """
        with naming_the_path(self.folder):
            self._entries.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.unlock()
            raise StorageError(
                f"{self.out}: another run is packing into this folder; wait for it, or give another --out"
            ) from error

    def unlock(self) -> None:
        """Let others in."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def part(self, name: str) -> Path:
        """Where a file lies until it is published; the same file system as the output."""
        return self.folder / f"{name}.part"

    @property
    def started(self) -> bool:
        """Whether a run has noted what it packs; all shards beside the journal are its own then."""
        return (self.folder / _OPTIONS_NAME).exists()

    @property
    def holds_shards(self) -> bool:
        """Whether a shard has been published; without one there is nothing to go on from."""
        return any(self._entries.glob("*.json"))

    @property
    def clearing(self) -> list[str]:
        """Names of shards that a run was about to remove when it was killed."""
        path = self.folder / _CLEARING_NAME
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def note_clearing(self, names: Iterable[str]) -> None:
        """Note what is about to be removed: a rerun knows it then, also without what has listed it."""
        data = "".join(f"{name}\n" for name in sorted(names)).encode()
        write_whole(self.folder / _CLEARING_NAME, data, part=self.part(_CLEARING_NAME))

    def claim(self) -> None:
        """Keep other machines out of a target elsewhere, until ``release``.

        Raises:
            StorageError: another run is at work there.
        """
        if self.target.is_remote:
            path = self.folder / _CLAIM_NAME
            if not path.exists():
                write_whole(path, uuid.uuid4().hex.encode(), part=self.part(_CLAIM_NAME))
            self.target.claim(path.read_text())
        self.claimed = True

    def release(self) -> None:
        """Let other machines in again, also after a run that was killed before it could."""
        path = self.folder / _CLAIM_NAME
        if path.exists():
            self.target.release(path.read_text())
            path.unlink()
        self.claimed = False

    def start(self, options: dict[str, Any], sources: Iterable[str]) -> None:
        """Note what this run packs. The options come last: a journal without them counts as none."""
        part = self.part(_SOURCES_NAME)
        with naming_the_path(part), part.open("w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in sources)
        part.replace(self.folder / _SOURCES_NAME)
        write_whole(self.folder / _OPTIONS_NAME, json.dumps(options).encode(), part=self.part(_OPTIONS_NAME))

    def resume(self, options: dict[str, Any], sources: Iterable[str]) -> list[str] | None:
        """Names of the shards that an unfinished run has left, in packing order; None where there is no such run.

        Raises:
            DataError: the run had other options or other sources; says which.
        """
        self._remove_leftovers()
        if not self.started or not self.holds_shards:
            return None
        found = differences(json.loads((self.folder / _OPTIONS_NAME).read_bytes()), json.loads(json.dumps(options)))
        if not found:
            found = self._changed_source(sources)
        if found:
            raise DataError(
                f"{self.target.root}: holds an unfinished run of another command: {'; '.join(found)}; "
                "run the old command to finish it, or give --overwrite to start anew"
            )
        return self._published()

    def _remove_leftovers(self) -> None:
        for path in [*self.folder.glob("*.part"), *self.folder.glob("staging-*")]:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _changed_source(self, sources: Iterable[str]) -> list[str]:
        with (self.folder / _SOURCES_NAME).open(encoding="utf-8") as file:
            for old, new in zip_longest(file, sources):
                if old is None or new is None or old.rstrip("\n") != new:
                    before, now = (old or "nothing").rstrip("\n"), new or "nothing"
                    return [f"a source has changed, it was {before} and is now {now}"]
        return []

    def add(self, entry: Entry) -> None:
        """Note a shard that has just been published."""
        name = f"{entry.shard.name}.json"
        write_whole(self._entries / name, entry.model_dump_json().encode(), part=self.part(name))

    def entries(self, names: Iterable[str]) -> Iterator[Entry]:
        """Entries of the published shards, in order.

        Args:
            names: their names, as ``resume`` gives them.
        """
        for name in names:
            yield Entry.model_validate_json((self._entries / f"{name}.json").read_bytes())

    def _published(self) -> list[str]:
        """Names of the shards to keep, in packing order; ends before the first one whose file is missing or cut."""
        found: list[tuple[int, ShardInfo]] = []
        for path in self._entries.glob("*.json"):
            entry = Entry.model_validate_json(path.read_bytes())  # not kept: its rows are most of it
            found.append((entry.next_ordinal, entry.shard))
        kept: list[str] = []
        sizes = self.target.sizes()
        for _, shard in sorted(found, key=lambda pair: pair[0]):
            if sizes.get(shard.name) != shard.size:
                break
            kept.append(shard.name)
        for path in self._entries.glob("*.json"):
            if path.name.removesuffix(".json") not in kept:
                path.unlink()
        return kept

    def remove(self) -> None:
        """Delete the journal with all temporary files, and let others in."""
        (self.folder / _OPTIONS_NAME).unlink(missing_ok=True)  # first: what is left of a journal counts as none
        shutil.rmtree(self.folder, ignore_errors=True)
        self.unlock()
