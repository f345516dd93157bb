"""A small file of merges in the format of CLIP's vocabulary, for tests that tokenize."""

import gzip
from pathlib import Path

MERGES = ("i n", "r u", "ru n", "j u", "ju m", "in g</w>", "jum p", "run n", "w a", "wa l", "wal k</w>", "a n")
NUM_TOKENS = 512 + len(MERGES) + 2


# As many as the real file's, of pairs of letters: its words differ, its number of tokens does not.
FULL_MERGES = tuple(f"{first} {second}" for first in map(chr, range(192, 448)) for second in map(chr, range(192, 448)))


def write_vocabulary(path: Path, *, merges: tuple[str, ...] = MERGES) -> Path:
    """The file of ``merges`` at ``path``, compressed if its name ends in .gz."""
    content = ("\n".join(['"small#version: 0.2', *merges]) + "\n").encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path
