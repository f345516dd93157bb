"""MSVD: ``<youtube_id>_<start>_<end> caption`` lines for all videos, and a list of ids per split."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from vidflow.shards.recipes.listing import Files, Listed, split_files
from vidflow.shards.sources.classes import read_lines
from vidflow.shards.sources.lines import Row, raise_all


def msvd_txt(files: Files, classes: Sequence[str]) -> Iterator[Listed]:
    """All videos of the lists, with all their captions."""
    captions: dict[str, list[str]] = defaultdict(list)
    problems = []
    for file in files["lists"]:
        for number, line in read_lines(file.path):
            if line.startswith("#"):
                continue
            name, _, caption = line.strip().partition(" ")
            if not caption.strip():
                problems.append(f"{file.path}:{number}: no 'id caption' in {line!r}")
            captions[name].append(caption.strip())
    for split, file in split_files(files):
        for number, line in read_lines(file.path):
            where, name = f"{file.path}:{number}", line.strip()
            if name not in captions:
                problems.append(f"{where}: {name!r} has no captions")
                continue
            yield Listed(Row(where, name, (), split), captions=tuple(captions[name]))
    raise_all(problems, "lines that do not parse:")
