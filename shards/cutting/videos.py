"""Which file is the video that an annotation names."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

from vidflow.shards.extraction.sources import Found
from vidflow.shards.recipes.finding import AmbiguousError

_SPAN = re.compile(r"(.+)_(\d{6})_(\d{6})")


class Videos:
    """Files by their paths, with or without extension, and by their names: ``ID.mp4`` and ``v_ID.mp4`` are video ID."""

    def __init__(self, files: Sequence[Found]) -> None:
        self._by_path: dict[str, list[Found]] = defaultdict(list)
        self._by_name: dict[str, list[Found]] = defaultdict(list)
        self.spans: dict[str, list[tuple[str, float, float]]] = {}
        """Id -> (path, start, end) of its files ``<id>_000012_000022``, in seconds of the original."""
        for file in files:
            self._by_path[file.name].append(file)
            self._by_path[file.stem].append(file)
            name = PurePosixPath(file.stem).name
            self._by_name[name.removeprefix("v_")].append(file)
            if name.startswith("v_"):
                self._by_name[name].append(file)
            if match := _SPAN.fullmatch(name):
                self.spans.setdefault(match[1], []).append((file.name, float(match[2]), float(match[3])))

    def find(self, video: str) -> Found | None:
        """The file, or None.

        Raises:
            AmbiguousError: it may be one of several.
        """
        by_name = self._by_name.get(video) or self._by_name.get(video.removeprefix("v_")) or []
        found = self._by_path.get(video) or by_name
        if len(found) > 1:
            raise AmbiguousError(" and ".join(file.id for file in found[:3]))
        return found[0] if found else None
