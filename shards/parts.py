"""Parts of one packing run, for job arrays: each packs its share into a folder of its own; ``merge`` joins them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from vidflow.errors import ConfigError

Item = TypeVar("Item")


@dataclass(frozen=True)
class Part:
    """The ``number``-th of ``count`` parts, counted from 1."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Part":
        """From ``3/8``.

        Raises:
            ConfigError: it is not of that form, or the number is not in [1, count].
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise ConfigError(f"--part {text}: write I/N with 1 <= I <= N, such as 3/8")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def _padded(self) -> str:
        return f"{self.number:0{len(str(self.count))}d}"

    @property
    def folder_name(self) -> str:
        """Name of the part's folder below ``--out``.

        >>> Part(3, 12).folder_name
        'part-03-of-12'
        """
        return f"part-{self._padded}-of-{self.count}"

    @property
    def mark(self) -> str:
        """What follows the split in the names of the part's shards.

        >>> Part(3, 12).mark
        '-p03'
        """
        return f"-p{self._padded}"

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """This part's items: neighbours, so that the parts one after the other are the whole.

        >>> [Part(i, 3).share("abcdefg") for i in (1, 2, 3)]
        ['ab', 'cd', 'efg']
        """
        return items[len(items) * (self.number - 1) // self.count : len(items) * self.number // self.count]

    def folder_of(self, out: Path | str) -> Path | str:
        """The part's own place below an ``--out``."""
        return out / self.folder_name if isinstance(out, Path) else f"{out.rstrip('/')}/{self.folder_name}"


FOLDER = re.compile(r"part-\d+-of-\d+")
"""What the folders of parts are called."""
