"""Tokens of CLIP, with a small vocabulary; with the real one where ``VIDFLOW_CLIP_VOCABULARY`` names its file."""

import os
from pathlib import Path

import numpy as np
import pytest

from tests.support.clip_vocabulary import MERGES, NUM_TOKENS, write_vocabulary
from vidflow.clip_tokenizer import ClipTokenizer, byte_letters, clean, words
from vidflow.errors import DataError, WeightsError

REAL = os.environ.get("VIDFLOW_CLIP_VOCABULARY")


@pytest.fixture
def tokenizer(tmp_path):
    return ClipTokenizer(write_vocabulary(tmp_path / "merges.txt.gz"))


def merged(*units):
    """Tokens of units that merges make."""
    return [512 + ["".join(merge.split()) for merge in MERGES].index(unit) for unit in units]


def letter(letter, *, ends_word=False):
    """The token of a single letter."""
    return list(byte_letters().values()).index(letter) + 256 * ends_word


def test_the_last_tokens_are_start_and_end(tokenizer):
    assert (tokenizer.vocabulary, tokenizer.start, tokenizer.end) == (NUM_TOKENS, NUM_TOKENS - 2, NUM_TOKENS - 1)


def test_words_are_merged_by_rank(tokenizer):
    assert tokenizer.tokens("running") == merged("runn", "ing</w>")
    assert tokenizer.tokens("jump") == [*merged("jum"), letter("p", ends_word=True)]
    assert tokenizer.tokens("walk") == merged("walk</w>")


def test_the_end_of_a_word_is_another_unit_than_its_middle(tokenizer):
    assert tokenizer.tokens("an") == [letter("a"), letter("n", ends_word=True)]
    assert tokenizer.tokens("ana") == [*merged("an"), letter("a", ends_word=True)]


def test_repeated_pairs_are_merged_from_the_left(tmp_path):
    tokenizer = ClipTokenizer(write_vocabulary(tmp_path / "m.txt", merges=("a a",)))
    assert tokenizer.tokens("aaaaa") == [512, 512, letter("a", ends_word=True)]


def test_letters_outside_of_ascii_are_their_bytes(tokenizer):
    first, second = "é".encode()
    letters = byte_letters()
    assert tokenizer.tokens("É") == [letter(letters[first]), letter(letters[second], ends_word=True)]


def test_texts_are_padded_between_start_and_end(tokenizer):
    encoded = tokenizer.encode(["walk", ""], context=5)
    assert encoded.dtype == np.int64
    start, end = tokenizer.start, tokenizer.end
    assert encoded.tolist() == [[start, *merged("walk</w>"), end, 0, 0], [start, end, 0, 0, 0]]


def test_a_text_that_is_too_long_is_refused_or_cut(tokenizer):
    with pytest.raises(DataError, match=r"text 'walk walk walk' has 5 tokens, more than 4; shorten it"):
        tokenizer.encode(["walk walk walk"], context=4)
    cut = tokenizer.encode(["walk walk walk"], context=4, truncate=True)[0]
    assert cut.tolist() == [tokenizer.start, *merged("walk</w>", "walk</w>"), tokenizer.end]


def test_texts_are_cleaned():
    assert clean("  Tom &amp;amp; Jerry’s\n“Run” e\u0301") == 'tom & jerry\'s "run" é'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("don't we've", ["don", "'t", "we", "'ve"]),
        ("!'s x", ["!'", "s", "x"]),
        ("mp4 2024", ["mp", "4", "2", "0", "2", "4"]),
        ("日本 x² a_b", ["日本", "x", "²", "a", "_", "b"]),
        ("", []),
    ],
)
def test_texts_split_into_words(text, expected):
    assert list(words(text)) == expected


def test_all_bytes_have_letters_of_their_own():
    letters = byte_letters()
    assert sorted(letters) == list(range(256))
    assert len(set(letters.values())) == 256
    assert not any(letter.isspace() for letter in letters.values())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"header\na b\nabc\n", r"line 3: must be two parts of a word, not 'abc'"),
        (b"header\na b c\n", r"line 2: must be two parts"),
        (b"\x1f\x8bnot gzip", "no readable vocabulary"),
        (b"\xff\xfe\x00", "no readable vocabulary"),
    ],
)
def test_other_files_are_refused(content, message, tmp_path):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        ClipTokenizer(tmp_path / "file")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="no readable vocabulary"):
        ClipTokenizer(tmp_path / "none.gz")


# Made by open_clip 3.3.0's SimpleTokenizer.
@pytest.mark.skipif(not REAL, reason="VIDFLOW_CLIP_VOCABULARY does not name bpe_simple_vocab_16e6.txt.gz")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a photo of a", [320, 1125, 539, 320]),
        ("dog cat", [1929, 2368]),
        ("it's 42 o'clock!?", [585, 568, 275, 273, 334, 262, 6716, 6004]),
        ("déjà vu — naïve", [25466, 73, 21259, 13230, 2005, 1097, 35689, 563]),
    ],
)
def test_tokens_equal_those_of_clip(text, expected):
    tokenizer = ClipTokenizer(Path(str(REAL)))
    assert tokenizer.vocabulary == 49_408
    assert tokenizer.tokens(text) == expected
