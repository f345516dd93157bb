"""The cache of shards: whole and right files only, one fetch for all processes, bounded, never in a reader's way."""

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cache_work
import pytest
from cache_work import storage_over

from vidflow.dataset import DatasetInfo, PackedDataset
from vidflow.errors import AlteredShardError, ConfigError, StorageError
from vidflow.storage import open_storage
from vidflow.storage.cached import CachedStorage, cached

SIZE = 300_000


@pytest.fixture
def shards(file_server, tmp_path):
    """Six shards on a web server and, to compare, in ``tmp_path/expected``."""
    (tmp_path / "expected").mkdir()
    infos = []
    for number in range(6):
        # The third has the length of whole chunks of the fetch, the fourth one byte.
        data = os.urandom({2: 1 << 20, 3: 1}.get(number, SIZE))
        name = f"train-{number:06d}.tar"
        file_server.files[f"set/{name}"] = data
        (tmp_path / "expected" / name).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        infos.append({"name": name, "split": "train", "num_samples": 1, "size": len(data), "sha256": digest})
    return infos


@pytest.fixture
def make(file_server, shards, tmp_path):
    """A storage through a cache of some size."""
    return lambda limit=10**9: storage_over(f"{file_server.address}/set", shards, str(tmp_path / "cache"), limit)


def content(tmp_path, suffix=".tar"):
    return sorted(path.name for path in (tmp_path / "cache").glob(f"*{suffix}"))


def read(storage: CachedStorage, name: str) -> bytes:
    with storage.open(name) as stream:
        return stream.read()


@pytest.mark.parametrize("number", range(6))
def test_a_shard_is_fetched_once_and_kept_whole(make, shards, file_server, tmp_path, number):
    storage, shard = make(), shards[number]
    expected = (tmp_path / "expected" / shard["name"]).read_bytes()
    assert read(storage, shard["name"]) == expected
    asked = len(file_server.requests)
    assert read(make(), shard["name"]) == expected
    assert storage.read(shard["name"], 0, 1) == expected[:1]
    assert len(file_server.requests) == asked
    assert content(tmp_path) == [f"{shard['sha256']}.tar"]
    assert (tmp_path / "cache" / f"{shard['sha256']}.tar").read_bytes() == expected
    assert content(tmp_path, ".part") == []


def test_a_range_of_a_shard_is_that_range(make, shards, tmp_path):
    expected = (tmp_path / "expected" / shards[0]["name"]).read_bytes()
    for storage in (make(), make()):
        with storage.open(shards[0]["name"], 1000, 50_000) as stream:
            assert stream.read() == expected[1000:51_000]


def test_other_files_are_read_past_the_cache(make, file_server, tmp_path):
    file_server.files["set/dataset.json"] = b"{}"
    assert read(make(), "dataset.json") == b"{}"
    assert make().read("dataset.json") == b"{}"
    assert content(tmp_path) == []


def test_equal_names_in_two_data_sets_do_not_meet(make, file_server, shards, tmp_path):
    data = os.urandom(SIZE)
    file_server.files["other/train-000000.tar"] = data
    info = shards[0] | {"sha256": hashlib.sha256(data).hexdigest()}
    other = storage_over(f"{file_server.address}/other", [info], str(tmp_path / "cache"), 10**9)
    assert read(other, "train-000000.tar") == data
    assert read(make(), "train-000000.tar") == (tmp_path / "expected/train-000000.tar").read_bytes()
    assert len(content(tmp_path)) == 2


@pytest.mark.parametrize("damage", ["altered", "cut", "longer"])
def test_what_is_not_the_shard_is_refused_and_not_kept(make, file_server, shards, tmp_path, damage):
    name = shards[0]["name"]
    data = file_server.files[f"set/{name}"]
    wrong = {"altered": data[:-1] + bytes([data[-1] ^ 1]), "cut": data[:-100], "longer": data + b"x"}[damage]
    file_server.files[f"set/{name}"] = wrong
    with pytest.raises((AlteredShardError, StorageError), match=f"{file_server.address}/set/{name}"):
        read(make(), name)
    assert content(tmp_path) == content(tmp_path, ".part") == []
    file_server.files[f"set/{name}"] = data
    assert read(make(), name) == data


def test_a_file_in_the_cache_that_was_cut_is_fetched_again(make, shards, tmp_path):
    expected = read(make(), shards[0]["name"])
    path = tmp_path / "cache" / f"{shards[0]['sha256']}.tar"
    path.write_bytes(expected[:100])
    assert read(make(), shards[0]["name"]) == expected
    assert path.read_bytes() == expected


def test_what_was_not_used_for_longest_goes_first(make, shards, tmp_path):
    storage = make(2 * SIZE)
    names = [shards[i]["name"] for i in (0, 1, 4)]
    read(storage, names[0])
    read(storage, names[1])
    time.sleep(0.02)
    read(storage, names[0])
    read(storage, names[2])
    assert content(tmp_path) == sorted(f"{shards[i]['sha256']}.tar" for i in (0, 4))


def test_a_shard_that_is_being_read_is_not_deleted(make, shards, tmp_path):
    storage = make(2 * SIZE)
    with storage.open(shards[0]["name"]) as stream:
        begin = stream.read(1000)
        for number in (1, 4, 5):
            read(storage, shards[number]["name"])
        assert f"{shards[0]['sha256']}.tar" in content(tmp_path)
        assert begin + stream.read() == (tmp_path / "expected" / shards[0]["name"]).read_bytes()
    assert storage.num_passed_by == 0


def test_where_all_is_in_use_the_server_is_read_and_that_is_said(make, shards, tmp_path, caplog):
    storage = make(SIZE)
    with storage.open(shards[0]["name"]) as stream:
        stream.read(1)
        for number in (1, 4):
            expected = (tmp_path / "expected" / shards[number]["name"]).read_bytes()
            assert read(storage, shards[number]["name"]) == expected
    assert storage.num_passed_by == 2
    assert caplog.text.count("all shards in the cache are in use") == 1
    assert content(tmp_path) == [f"{shards[0]['sha256']}.tar"]


def test_a_full_disk_is_said_and_leaves_nothing(make, shards, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("vidflow.storage.cache.os.pwrite", full)
    with pytest.raises(StorageError, match=r"cache: No space left on device; .* or lower data.cache_bytes"):
        read(make(), shards[0]["name"])
    assert content(tmp_path) == content(tmp_path, ".part") == []


def test_a_disk_without_locks_is_said_of_a_shard_that_is_there_too(make, shards, tmp_path, monkeypatch):
    read(make(), shards[0]["name"])

    def no_locks(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("vidflow.storage.cache.fcntl.flock", no_locks)
    for number in (0, 1):
        with pytest.raises(StorageError, match=r"cache: No locks available; .* on a disk of this machine"):
            read(make(), shards[number]["name"])


def test_a_folder_that_cannot_be_used_is_refused(file_server, shards, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ConfigError, match=r"data.cache = .*file' cannot be used"):
        storage_over(file_server.address, shards, str(tmp_path / "file"), 10**9)


def test_a_limit_below_one_shard_is_refused_with_both_sizes(file_server, shards, tmp_path):
    info = DatasetInfo.model_validate({"name": "set", "classes": [], "splits": {}, "shards": shards})
    remote = PackedDataset(open_storage(file_server.address), info)
    with pytest.raises(ConfigError, match=rf"data.cache_bytes = 1000000: smaller than the shard .*\({1 << 20} bytes\)"):
        cached(remote, str(tmp_path / "cache"), limit_bytes=1_000_000)
    local = PackedDataset(open_storage(tmp_path), info)
    assert cached(local, str(tmp_path / "cache"), limit_bytes=1) is local


def test_leaving_a_stream_early_drops_the_fetch(make, file_server, shards, tmp_path):
    file_server.spoil_all("stall", after=1000)
    stream = make().open(shards[0]["name"])
    deadline = time.monotonic() + 10
    while not content(tmp_path, ".part"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    begin = time.monotonic()
    stream.close()
    assert time.monotonic() - begin < 1


def run(file_server, shards, tmp_path, *, seed, limit, reads):
    work = {
        "root": f"{file_server.address}/set", "shards": shards, "folder": str(tmp_path / "cache"),
        "limit_bytes": limit, "seed": seed, "num_reads": reads, "expected": str(tmp_path / "expected"),
    }  # fmt: skip
    return subprocess.Popen(
        [sys.executable, cache_work.__file__, json.dumps(work)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def finish(process):
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()[-3000:]
    return json.loads(out)


def test_processes_fetch_each_shard_once_together(file_server, shards, tmp_path):
    for process in [run(file_server, shards, tmp_path, seed=seed, limit=10**9, reads=40) for seed in range(3)]:
        assert finish(process)["num_passed_by"] == 0
    asked = [request.path for request in file_server.requests]
    assert all(asked.count(f"/set/{shard['name']}") == 1 for shard in shards)
    assert content(tmp_path) == sorted(f"{shard['sha256']}.tar" for shard in shards)


@pytest.mark.slow
def test_processes_that_evict_each_others_shards_read_right_bytes_within_the_limit(file_server, shards, tmp_path):
    limit = (1 << 20) + SIZE
    processes = [run(file_server, shards, tmp_path, seed=seed, limit=limit, reads=150) for seed in range(3)]
    results = [finish(process) for process in processes]
    assert max(result["largest"] for result in results) <= limit
    assert content(tmp_path, ".part") == []


@pytest.mark.parametrize("after", [0, 1000, SIZE - 1])
def test_a_process_killed_while_it_fetches_leaves_nothing_that_counts(file_server, make, shards, tmp_path, after):
    file_server.spoil_all("stall", after=after)
    process = run(file_server, shards[:1], tmp_path, seed=0, limit=10**9, reads=1)
    deadline = time.monotonic() + 60
    while not content(tmp_path, ".part") or not file_server.requests:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    assert content(tmp_path) == []
    file_server.fault_of_all = None
    assert read(make(2 * SIZE), shards[0]["name"]) == (tmp_path / "expected" / shards[0]["name"]).read_bytes()
    assert content(tmp_path, ".part") == []


def test_a_process_that_waits_takes_over_from_one_that_is_killed(file_server, shards, tmp_path):
    file_server.spoil("stall", after=1000)
    first = run(file_server, shards[:1], tmp_path, seed=0, limit=10**9, reads=1)
    deadline = time.monotonic() + 60
    while not file_server.requests:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    second = run(file_server, shards[:1], tmp_path, seed=1, limit=10**9, reads=5)
    time.sleep(1.5)
    assert second.poll() is None
    first.send_signal(signal.SIGKILL)
    first.wait(10)
    assert finish(second)["num_passed_by"] == 0
    assert Path(tmp_path / "cache" / f"{shards[0]['sha256']}.tar").stat().st_size == SIZE
