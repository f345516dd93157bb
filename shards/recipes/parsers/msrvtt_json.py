"""MSR-VTT: ``{"videos": [{"video_id", "split"}], "sentences": [{"video_id", "caption"}]}``.

The split 1k-A (JSFusion) takes the 9,000 videos of a list for training, and 1,000 videos with one sentence each, in
``key,vid_key,video_id,sentence`` columns, for the test; copies of that list have semicolons between them.
VindLU and MMAction2 have lists of their own: ``[{"video": "video0.mp4", "caption": ["a sentence", ...]}]``.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from vidflow.errors import DataError
from vidflow.shards.recipes.listing import Files, Listed, csv_rows, json_value, split_files
from vidflow.shards.sources.classes import read_lines
from vidflow.shards.sources.lines import Row, raise_all

_SPLITS = {"train": "train", "validate": "val", "test": "test"}


def _captions(files: Files) -> tuple[dict[str, tuple[str, str | None]], dict[str, list[str]]]:
    """Video -> (where, split), and video -> captions, over all JSON files."""
    videos: dict[str, tuple[str, str | None]] = {}
    captions: dict[str, list[str]] = defaultdict(list)
    for file in files["lists"]:
        content = json_value(file.path, dict)
        try:
            for position, video in enumerate(content["videos"]):
                videos[video["video_id"]] = f"{file.path}: video {position}", video.get("split")
            for sentence in content["sentences"]:
                captions[sentence["video_id"]].append(sentence["caption"])
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{file.path}: needs videos with video_id, and sentences with video_id and caption"
            ) from error
    return videos, captions


def msrvtt_json(files: Files, classes: Sequence[str]) -> Iterator[Listed]:
    """The owners' splits."""
    videos, captions = _captions(files)
    problems = []
    for name, (where, split) in videos.items():
        if split not in _SPLITS or not captions[name]:
            problems.append(f"{where}: {name} has the split {split!r} and {len(captions[name])} captions")
            continue
        yield Listed(Row(where, name, (), _SPLITS[split]), captions=tuple(captions[name]))
    raise_all(problems, "videos without a split or a caption:")


def msrvtt_1ka(files: Files, classes: Sequence[str]) -> Iterator[Listed]:
    """The split 1k-A."""
    _, captions = _captions(files)
    problems = []
    for file in files.get("train", ()):
        for number, line in read_lines(file.path):
            name, where = line.strip(), f"{file.path}:{number}"
            if name == "video_id":  # the header of the list as a CSV
                continue
            if name not in captions:
                problems.append(f"{where}: {name!r} has no captions")
                continue
            yield Listed(Row(where, name, (), "train"), captions=tuple(captions[name]))
    for file in files.get("test", ()):
        first = next(iter(read_lines(file.path)), (0, ""))[1]
        rows = csv_rows(file.path, ";" if ";" in first else ",")  # copies have either
        where, header = next(rows, (str(file.path), []))
        if not {"video_id", "sentence"} <= set(header):
            raise DataError(f"{where}: no columns video_id and sentence in {','.join(header)!r}")
        for where, cells in rows:
            values = dict(zip(header, cells, strict=False))
            if len(cells) != len(header) or not values["video_id"] or not values["sentence"]:
                problems.append(f"{where}: no video_id and sentence in {','.join(cells)!r}")
                continue
            yield Listed(Row(where, values["video_id"], (), "test"), captions=(values["sentence"],))
    raise_all(problems, "lines that do not parse:")


def msrvtt_ret(files: Files, classes: Sequence[str]) -> Iterator[Listed]:
    """The lists of VindLU; a video that is there several times has the captions of all its entries."""
    problems = []
    for split, file in split_files(files):
        captions: dict[str, list[str]] = defaultdict(list)
        places: dict[str, str] = {}
        for position, entry in enumerate(json_value(file.path, list)):
            where = f"{file.path}: entry {position}"
            name, texts = (entry.get("video"), entry.get("caption")) if isinstance(entry, dict) else (None, None)
            texts = [texts] if isinstance(texts, str) else texts
            if not isinstance(name, str) or not texts or not all(isinstance(text, str) for text in texts):
                problems.append(f"{where}: no 'video' and 'caption' in {entry!r}")
                continue
            places.setdefault(name, where)
            captions[name] += texts
        for name, texts in captions.items():
            yield Listed(Row(places[name], name, (), split), captions=tuple(texts))
    raise_all(problems, "entries that do not parse:")
