"""The shards of one run: filled one after the other, published whole, and noted in the journal.

A shard that goes to another place is sent in the background while the next one is filled; there is never more than one
on its way. It is noted once it is there, so that an interruption costs no more than these two.
"""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from vidflow.shards import tar
from vidflow.shards.journal import Entry, Journal, Rejected
from vidflow.shards.output import shard_name
from vidflow.shards.writer import ShardWriter


class ShardSequence:
    """Where a run stands: what earlier runs have published, and the shard that is open now.

    Args:
        journal: locked, and started or resumed.
        max_bytes: a shard ends before the sample that would make it larger.
        max_count: samples per shard.
        shards: names of those that an interrupted run has left, in packing order.
        part: marks the names of the shards, so that those of several parts can lie in one folder.
    """

    def __init__(
        self, journal: Journal, *, max_bytes: int, max_count: int, shards: Sequence[str], part: str = ""
    ) -> None:
        self.journal, self.max_bytes, self.max_count, self.part = journal, max_bytes, max_count, part
        self.shards = list(shards)
        self.rejected: list[Rejected] = []
        self.next_ordinal = 0
        """All samples before this one are settled."""
        self._numbers: Counter[str] = Counter()
        self._writer: ShardWriter | None = None
        self._rows: list[dict[str, Any]] = []
        self._sender: ThreadPoolExecutor | None = None
        self._sending: Future[None] | None = None
        for entry in journal.entries(shards):
            self.rejected += entry.rejected
            self.next_ordinal = entry.next_ordinal
            self._numbers[entry.shard.split] += 1
        self._num_noted = len(self.rejected)  # rejects that the journal has

    def writer_for(self, split: str, length: int, ordinal: int) -> ShardWriter:
        """The shard that takes the next sample; a full one is published first.

        Args:
            length: bytes of the sample in the archive.
            ordinal: its place in the run.
        """
        if self._is_full(split, length):
            self.close(ordinal)
        if self._writer is None:
            name = shard_name(f"{split}{self.part}", self._numbers[split])
            self._writer = ShardWriter(self.journal.out / name, part=self.journal.part(name), split=split)
        return self._writer

    def is_giant(self, length: int) -> bool:
        """Whether a sample needs a shard of its own that is larger than allowed."""
        return length + len(tar.END_OF_ARCHIVE) > self.max_bytes

    def add_row(self, row: dict[str, Any]) -> None:
        """Note the manifest row of a sample that has just been written."""
        self._rows.append(row)

    def _is_full(self, split: str, length: int) -> bool:
        writer = self._writer
        if writer is None or not writer.num_samples:
            return writer is not None and writer.split != split
        too_large = writer.size + length + len(tar.END_OF_ARCHIVE) > self.max_bytes
        return writer.split != split or writer.num_samples >= self.max_count or too_large

    def close(self, next_ordinal: int) -> None:
        """Publish the open shard, if it has samples, and note it; ``settle`` waits until it is there.

        Raises:
            StorageError: this shard cannot be written, or the one before could not be sent.
        """
        writer, self._writer = self._writer, None
        if writer is None:
            return
        if not writer.num_samples:
            writer.discard()
            return
        try:
            self._wait_for_sender()  # entries are noted in the order of the shards
            shard = writer.close()
        except BaseException:
            writer.discard()
            raise
        rejected = tuple(self.rejected[self._num_noted :])
        entry = Entry(shard=shard, next_ordinal=next_ordinal, rows=tuple(self._rows), rejected=rejected)
        self._numbers[shard.split] += 1
        self._num_noted = len(self.rejected)
        self.shards.append(shard.name)
        self._rows = []
        if self.journal.target.is_remote:
            self._sender = self._sender or ThreadPoolExecutor(1, "sending")
            self._sending = self._sender.submit(self._publish, writer.final, entry)
        else:
            self._publish(writer.final, entry)

    def _publish(self, shard: Path, entry: Entry) -> None:
        self.journal.target.put(shard)
        self.journal.add(entry)

    def _wait_for_sender(self) -> None:
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.result()

    def settle(self) -> None:
        """Wait until all closed shards are where they belong, and noted.

        Raises:
            StorageError: the last one could not be sent.
        """
        self._wait_for_sender()
        if self._sender is not None:
            self._sender.shutdown()

    def discard(self) -> None:
        """Leave nothing of the shard that is open; one that is on its way may still arrive, and is noted then."""
        if self._writer is not None:
            self._writer.discard()
        if self._sender is not None:
            self._sender.shutdown()
