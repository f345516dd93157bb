"""Processes that read shards through one cache."""

import fcntl
import json
import random
import sys
import threading
from pathlib import Path

from vidflow.dataset import ShardInfo
from vidflow.storage import open_storage
from vidflow.storage.cache import ShardCache
from vidflow.storage.cached import CachedStorage


def storage_over(root: str, shards: list[dict], folder: str, limit_bytes: int) -> CachedStorage:
    """A cached storage over shards as ``ShardInfo`` values."""
    infos = {values["name"]: ShardInfo.model_validate(values) for values in shards}
    return CachedStorage(open_storage(root), infos, ShardCache(Path(folder), limit_bytes))


def main() -> None:
    """Read ranges of random shards and compare them with ``expected``; prints how many reads passed the cache by."""
    work = json.loads(sys.argv[1])
    storage = storage_over(work["root"], work["shards"], work["folder"], work["limit_bytes"])
    rng = random.Random(work["seed"])
    folder, largest = Path(work["folder"]), 0
    done = threading.Event()

    def watch() -> None:
        nonlocal largest
        while not done.wait(0.002):
            with (folder / "room").open() as room:  # nobody adds or deletes while it is counted
                fcntl.flock(room, fcntl.LOCK_EX)
                found = [path for path in folder.iterdir() if path.suffix in (".tar", ".part")]
                sizes = [path.stat().st_size for path in found if path.exists()]
            largest = max(largest, sum(sizes))

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(work["num_reads"]):
        shard = rng.choice(work["shards"])
        start = rng.randrange(shard["size"])
        length = rng.randrange(1, shard["size"] - start + 1)
        with storage.open(shard["name"], start, length) as stream:
            data = stream.read()
        expected = Path(work["expected"], shard["name"]).read_bytes()[start : start + length]
        assert data == expected, f"other bytes of {shard['name']}"
    done.set()
    watcher.join()
    sys.stdout.write(json.dumps({"num_passed_by": storage.num_passed_by, "largest": largest}))


if __name__ == "__main__":
    main()
