"""AVA's action lists: text protocol buffers of ``item { name: "dance" id: 4 }``, or ``label`` and ``label_id``.

Ids count from 1. The lists of the challenges leave 20 of the 80 actions out, which are too rare to be evaluated: their
places are kept, so that the index of a class is its id less one in all versions of the list.
"""

import re
from pathlib import Path

from vidflow.errors import DataError

_ENTRY = re.compile(r"\b(?:item|label)\s*\{(.*?)\}", re.DOTALL)
_NAME = re.compile(r"""\bname\s*:\s*(["'])(.*?)\1""")
_ID = re.compile(r"\b(?:label_)?id\s*:\s*(\d+)")
_UNLISTED = re.compile(r"\(id \d+\)")


def read_pbtxt(file: Path) -> tuple[str, ...]:
    """Names in the order of their ids; ``(id 2)`` stands where the list has none.

    Raises:
        DataError: the file cannot be read, an entry has no name or no id, or an id occurs twice.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 text") from error
    names: dict[int, str] = {}
    for entry in _ENTRY.finditer(text):
        where = f"{file}:{text.count(chr(10), 0, entry.start()) + 1}"
        name, number = _NAME.search(entry[1]), _ID.search(entry[1])
        if name is None or number is None or not name[2].strip() or int(number[1]) < 1:
            raise DataError(f"{where}: an entry without a name and an id from 1 on")
        if int(number[1]) in names:
            raise DataError(f"{where}: id {number[1]} is {names[int(number[1])]!r} and {name[2]!r}")
        names[int(number[1])] = name[2].strip()
    if not names:
        raise DataError(f"{file}: no 'item {{ name: \"...\" id: 1 }}' in it")
    return tuple(names.get(number, f"(id {number})") for number in range(1, max(names) + 1))


def is_listed(name: str) -> bool:
    """Whether a class of ``read_pbtxt`` is one that the list names."""
    return _UNLISTED.fullmatch(name) is None
