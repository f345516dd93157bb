"""``vidflow merge s3://``: the server copies the shards, and the result is that of a join in a folder."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vidflow.errors import DataError, StorageError
from vidflow.shards.merging import merge
from vidflow.shards.pack import PackOptions, pack
from vidflow.shards.parts import Part
from vidflow.shards.placing import BucketPlacer, _part_bytes
from vidflow.shards.sending import PART_BYTES
from vidflow.shards.target import CLAIM_NAME
from vidflow.storage.s3 import list_folders

COUNT = 3
SIZES = [20_000, PART_BYTES + 1234, 20_000, 20_000, 20_000, 20_000]


@pytest.fixture
def work(tmp_path) -> Path:
    return tmp_path / "work"


@pytest.fixture
def parts(items, s3, tmp_path, work) -> dict[str, bytes]:
    """Three parts on S3 and in a folder; what the folder's join gives."""
    source = items(len(SIZES), sizes=SIZES)
    Path(source.items[3].path).write_bytes(b"broken")
    for number in range(1, COUNT + 1):
        for out in (tmp_path / "parts", s3.root("parts")):
            pack(source, out, PackOptions(max_count=1), workers=1, work_dir=work, part=Part(number, COUNT))
    merge([tmp_path / "parts"], tmp_path / "merged")
    return {path.name: path.read_bytes() for path in (tmp_path / "merged").iterdir()}


def without_parts(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if "/" not in name}


def test_the_join_on_s3_is_the_join_in_a_folder(parts, s3, command, work):
    result = command("merge", s3.root("parts"), "--work-dir", work)
    assert result.returncode == 0, result.stderr
    assert f"{s3.root('parts')}: 3 parts with 5 packed + 1 rejected samples" in result.stdout
    assert without_parts(s3.files("parts")) == parts
    assert [path for path in work.rglob("*") if path.is_file()] == []
    again = command("merge", s3.root("parts"), "--work-dir", work)
    assert "complete already" in again.stdout


def test_the_order_and_repeats_of_the_parts_mean_nothing(parts, s3, work):
    roots = [f"{s3.root('parts')}/{Part(number, COUNT).folder_name}" for number in (3, 1, 2, 3)]
    proxy = s3.through_proxy()
    report = merge(roots, s3.root("elsewhere"), work_dir=work)
    assert (report.num_parts, report.num_linked) == (COUNT, 0)
    assert s3.files("elsewhere") == parts
    bodies = [request for request in proxy.requests if request.method == "PUT" and request.path.endswith(".tar")]
    assert len(bodies) == 4, "one request copies a small shard; the large one goes in parts"
    assert sum("partNumber" in request.path for request in proxy.requests) == 2
    assert not any(request.method == "GET" and ".tar" in request.path for request in proxy.requests)


def test_one_request_in_five_failing_changes_nothing(parts, s3, command, work):
    proxy = s3.through_proxy(rate=0.2, seed=4)
    result = command("merge", s3.root("parts"), "--out", s3.root("out"), "--work-dir", work)
    assert result.returncode == 0, result.stderr
    assert proxy.num_faults > 5
    assert s3.files("out") == parts


@pytest.mark.parametrize("number", [9, 14, pytest.param(18, marks=pytest.mark.slow), 22])
def test_a_join_killed_at_any_request_is_finished_by_the_same_command(number, parts, s3, command, work):
    arguments = ["merge", s3.root("parts"), "--out", s3.root("out"), "--work-dir", str(work)]
    proxy = s3.through_proxy()
    process: list[subprocess.Popen[bytes]] = []

    def kill(request):
        if len(proxy.requests) == number:
            os.kill(process[0].pid, signal.SIGKILL)

    proxy.watch = kill
    process.append(subprocess.Popen([sys.executable, "-m", "vidflow", *arguments], stderr=subprocess.PIPE))
    process[0].communicate(timeout=60)
    assert process[0].returncode == -signal.SIGKILL, "fewer requests than that: the test must be changed"
    proxy.watch = lambda request: None
    again = command(*arguments)
    assert again.returncode == 0, again.stderr
    assert s3.files("out") == parts
    assert [path for path in work.rglob("*") if path.is_file()] == []


def test_shards_of_an_earlier_try_are_compared_and_not_copied_again(parts, s3, work):
    good, spoilt = sorted(name for name in parts if name.endswith(".tar") and len(parts[name]) < PART_BYTES)[:2]
    s3.put({good: parts[good], spoilt: parts[spoilt][::-1]}, "out")
    proxy = s3.through_proxy()
    merge([s3.root("parts")], s3.root("out"), work_dir=work)
    copied = {request.path.rpartition("/")[2] for request in proxy.requests if request.method == "PUT"}
    assert good not in copied
    assert spoilt in copied
    assert s3.files("out") == parts


def test_a_copy_that_differs_is_made_again_and_in_the_end_refused(parts, s3, work):
    shard = min((name for name in parts if name.endswith(".tar")), key=lambda name: len(parts[name]))
    proxy = s3.through_proxy()
    spoilt = []

    def spoil(request):
        if request.method == "HEAD" and request.path.endswith(f"out/{shard}"):
            spoilt.append(request)
            s3.put({shard: parts[shard][::-1]}, "out")

    proxy.watch = spoil
    with pytest.raises(StorageError, match=rf"{shard}: is not what .* is said to be, after 3 copies"):
        merge([s3.root("parts")], s3.root("out"), work_dir=work)
    assert len(spoilt) == 3
    assert "dataset.json" not in s3.files("out")


def test_missing_unfinished_and_cut_parts_are_named(parts, s3, work):
    first = f"part-1-of-{COUNT}"
    with pytest.raises(DataError, match="2 of 3 parts are missing: 2, 3"):
        merge([f"{s3.root('parts')}/{first}"], s3.root("out"), work_dir=work)
    shard = next(name for name in s3.files(f"parts/{first}") if name.endswith(".tar"))
    s3.put({shard: b"cut"}, f"parts/{first}")
    with pytest.raises(DataError, match=rf"{first}/{shard}: has 3 bytes, dataset.json says \d+; pack the part again"):
        merge([s3.root("parts")], s3.root("out"), work_dir=work)
    s3.client.delete_object(Bucket=s3.name, Key=f"parts/{first}/{shard}")
    with pytest.raises(DataError, match=rf"{first}/{shard}: is missing; pack the part again"):
        merge([s3.root("parts")], s3.root("out"), work_dir=work)
    s3.client.delete_object(Bucket=s3.name, Key=f"parts/{first}/dataset.json")
    with pytest.raises(DataError, match=rf"{first}: is not finished, it has no dataset\.json"):
        merge([s3.root("parts")], s3.root("out"), work_dir=work)
    with pytest.raises(DataError, match="holds no parts; pack them first"):
        merge([s3.root("nothing")], s3.root("out"), work_dir=work)


def test_what_lies_there_already_is_refused(parts, s3, work):
    s3.put({"train-000007.tar": b"whose?"}, "out")
    with pytest.raises(DataError, match=r"holds train-000007.tar of unknown origin"):
        merge([s3.root("parts")], s3.root("out"), work_dir=work)
    assert set(s3.files("out")) == {"train-000007.tar"}
    s3.put({CLAIM_NAME: b'{"token": "x", "host": "another.host", "since": "today"}'}, "claimed")
    with pytest.raises(StorageError, match=r"a run on another.host writes there since today"):
        merge([s3.root("parts")], s3.root("claimed"), work_dir=work)


def test_a_copy_keeps_the_borders_of_the_parts():
    assert _part_bytes(PART_BYTES + 1, '"x-2"'.strip('"')) == PART_BYTES
    assert _part_bytes(PART_BYTES + 1, "x-7") > PART_BYTES
    assert _part_bytes(6 << 30, "no md5 of parts") > PART_BYTES


def test_objects_above_the_limit_of_one_request_are_copied_in_parts(parts, s3, work, monkeypatch):
    monkeypatch.setattr("vidflow.shards.placing._ONE_REQUEST_BYTES", 10_000)
    proxy = s3.through_proxy()
    merge([s3.root("parts")], s3.root("out"), work_dir=work)
    assert s3.files("out") == parts
    assert sum("partNumber" in request.path for request in proxy.requests) == 2 + 4
    # The ETags differ then, so that the copies are read back.
    assert sum(request.method == "GET" and ".tar" in request.path for request in proxy.requests) >= 4


def test_a_failing_copy_in_parts_leaves_no_upload(parts, s3, work, monkeypatch):
    monkeypatch.setenv("VIDFLOW_STORAGE_ATTEMPTS", "1")
    proxy = s3.through_proxy()
    proxy.kinds, proxy.spoils = ("status",), lambda request: "partNumber=2" in request.path
    with pytest.raises(StorageError, match="gave up after 1 attempts"):
        merge([s3.root("parts")], s3.root("out"), work_dir=work)
    assert "Uploads" not in s3.client.list_multipart_uploads(Bucket=s3.name)
    proxy.spoils = lambda request: False
    merge([s3.root("parts")], s3.root("out"), work_dir=work)
    assert s3.files("out") == parts


def test_folders_of_a_bucket_are_listed(parts, s3):
    assert list(list_folders(s3.root("parts"))) == [Part(number, COUNT).folder_name for number in (1, 2, 3)]
    assert BucketPlacer.threads > 1
