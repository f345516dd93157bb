"""Texts as CLIP's tokens: byte-pair encoding of lower-cased words.

Source: "Learning Transferable Visual Models From Natural Language Supervision" (arXiv:2103.00020), section 2.4; the
encoding is "Neural Machine Translation of Rare Words with Subword Units" (arXiv:1508.07909), section 3.2, over bytes.
The file of merges is that of the authors' code, clip/bpe_simple_vocab_16e6.txt.gz. Differs: texts are taken as they are
but for composed letters (NFC) and straight quotes, while the authors also repair wrongly decoded text (ftfy).

Shapes: N texts, L tokens.
"""

import gzip
import html
import re
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from vidflow.errors import DataError, WeightsError

VOCABULARY_URL = (
    "https://github.com/openai/CLIP/raw/d50d76daa670286dd6cacf3bcd80b5e4823fc8e1/clip/bpe_simple_vocab_16e6.txt.gz"
)
VOCABULARY_SHA256 = "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a"

_NUM_MERGES = 49_152 - 256 - 2
"""The file has more; the rest is not used."""
_START, _END, _WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"
_SUFFIXES = ("s", "t", "re", "ve", "m", "ll", "d")
_STRAIGHT = str.maketrans("\u2018\u2019\u201c\u201d", "''\"\"")


def byte_letters() -> dict[int, str]:
    """Byte -> a printable letter for it; the order is that of the vocabulary's first 256 entries."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = [chr(byte) for byte in printable] + [chr(256 + place) for place in range(len(others))]
    return dict(zip(printable + others, letters, strict=True))


def clean(text: str) -> str:
    """Lower case, single spaces, no HTML entities, straight quotes.

    >>> clean(" Playing  &amp;quot;Tennis&amp;quot; ")
    'playing "tennis"'
    """
    text = unicodedata.normalize("NFC", text.translate(_STRAIGHT))
    text = html.unescape(html.unescape(text))
    return re.sub(r"\s+", " ", text).strip().lower()


def words(text: str) -> Iterator[str]:
    """Runs of letters, single digits, English endings behind an apostrophe, and runs of everything else.

    >>> list(words("it's 42 o'clock!?"))
    ['it', "'s", '4', '2', 'o', "'", 'clock', '!?']
    """

    def kind(place: int) -> str:
        letter = text[place]
        category = unicodedata.category(letter)[0]
        return " " if letter.isspace() else category if category in "LN" else "other"

    place = 0
    while place < len(text):
        end = place + 1
        suffix = next((s for s in _SUFFIXES if text[place] == "'" and text.startswith(s, place + 1)), None)
        if suffix:
            end += len(suffix)
        elif kind(place) in ("L", "other"):
            while end < len(text) and kind(end) == kind(place):
                end += 1
        if kind(place) != " ":
            yield text[place:end]
        place = end


class ClipTokenizer:
    """Texts -> tokens.

    Args:
        path: the file of merges: text or its gzip; one header line, then two parts of a word per line, by rank.

    Raises:
        WeightsError: the file cannot be read, or is another kind of file.
    """

    def __init__(self, path: Path) -> None:
        merges = _read_merges(path)
        self._letters = byte_letters()
        units = [*self._letters.values(), *(letter + _WORD_END for letter in self._letters.values())]
        units += ["".join(merge) for merge in merges] + [_START, _END]
        self._tokens = {unit: token for token, unit in enumerate(units)}
        self._ranks = {merge: rank for rank, merge in enumerate(merges)}
        self._cache: dict[str, tuple[int, ...]] = {}
        self.vocabulary = len(units)
        """Tokens that there are."""
        self.start, self.end = self._tokens[_START], self._tokens[_END]

    def tokens(self, text: str) -> list[int]:
        """The tokens of one text, without those of its start and end."""
        found: list[int] = []
        for word in words(clean(text)):
            if word not in self._cache:
                self._cache[word] = tuple(self._tokens[unit] for unit in self._merge(word))
            found += self._cache[word]
        return found

    def encode(self, texts: Sequence[str], *, context: int = 77, truncate: bool = False) -> np.ndarray:
        """int64 [N, ``context``]: start, the text's tokens, end, and zeros.

        Args:
            truncate: cut what is too long, and keep the end token.

        Raises:
            DataError: a text is too long.
        """
        encoded = np.zeros((len(texts), context), np.int64)
        for row, text in enumerate(texts):
            tokens = [self.start, *self.tokens(text), self.end]
            if len(tokens) > context and not truncate:
                raise DataError(f"text {text!r} has {len(tokens)} tokens, more than {context}; shorten it")
            tokens = [*tokens[: context - 1], tokens[-1]] if len(tokens) > context else tokens
            encoded[row, : len(tokens)] = tokens
        return encoded

    def _merge(self, word: str) -> list[str]:
        """The units of a word: neighbours are joined by rank, lowest first, until none is left that has one."""
        letters = [self._letters[byte] for byte in word.encode()]
        units = [*letters[:-1], letters[-1] + _WORD_END]
        while len(units) > 1:
            best = min(pairwise(units), key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if best not in self._ranks:
                break
            joined: list[str] = []
            for unit in units:
                # A pair that begins inside the one just joined does not count.
                if joined and (joined[-1], unit) == best:
                    joined[-1] += unit
                else:
                    joined.append(unit)
            units = joined
        return units


def _read_merges(path: Path) -> list[tuple[str, str]]:
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        lines = content.decode().splitlines()[1 : _NUM_MERGES + 1]
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise WeightsError(f"{path}: no readable vocabulary of CLIP ({error})") from error
    merges: list[tuple[str, str]] = []
    for number, line in enumerate(lines, start=2):
        parts = line.split(" ")
        if len(parts) != 2 or not all(parts):
            raise WeightsError(f"{path}, line {number}: must be two parts of a word, not {line!r}")
        merges.append((parts[0], parts[1]))
    return merges
