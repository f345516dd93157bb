"""Something-Something V2: a list of ``{"id": "78687", "template": "Holding [something] ...", ...}``.

The class is the template without its brackets.
"""

from collections.abc import Iterator, Sequence

from vidflow.shards.recipes.listing import Files, Listed, json_value, split_files
from vidflow.shards.sources.lines import Row, raise_all


def sth_json(files: Files, classes: Sequence[str]) -> Iterator[Listed]:
    """All videos of the lists."""
    for split, file in split_files(files):
        problems = []
        for position, entry in enumerate(json_value(file.path, list)):
            where = f"{file.path}: entry {position}"
            name, template = (entry.get("id"), entry.get("template")) if isinstance(entry, dict) else (None, None)
            if not (isinstance(name, str) and name and isinstance(template, str)):
                problems.append(f"{where}: no 'id' and 'template' in {entry!r}")
                continue
            yield Listed(Row(where, name, (template.replace("[", "").replace("]", ""),), split))
        raise_all(problems, "entries that do not parse:")
