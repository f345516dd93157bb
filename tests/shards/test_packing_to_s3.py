"""``--out s3://``: the same bytes as in a folder, whatever fails on the way, and never half an object."""

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from dying import NUM_KILLS

from vidflow.errors import DataError, StorageError
from vidflow.shards.pack import PackOptions, pack
from vidflow.shards.sending import PART_BYTES, work_folder
from vidflow.shards.target import CLAIM_NAME
from vidflow.storage.patience import Patience

PREFIX = "some/prefix"


@pytest.fixture
def work(tmp_path) -> Path:
    return tmp_path / "work"


@pytest.fixture
def send(s3, work):
    """``send(source, max_count=2)`` packs to S3 with one worker."""

    def run(source, *, overwrite: bool = False, **options):
        return pack(source, s3.root(PREFIX), PackOptions(**options), workers=1, overwrite=overwrite, work_dir=work)

    return run


@pytest.fixture
def listed(items) -> Callable[..., list[str]]:
    """``listed(n)``: n clips in a list, as arguments of ``vidflow shard`` that give each a shard of its own."""

    def make(*arguments, **options) -> list[str]:
        paths = [Path(item.path) for item in items(*arguments, **options).items]
        file = paths[0].with_name("list.txt")
        file.write_text("".join(f"{path.name} 0\n" for path in paths))
        return ["shard", "--annotations", f"train={file}", "--max-count", "1"]

    return make


def left_in(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


def test_s3_holds_the_bytes_that_a_folder_would(s3, send, items, packed, files_of, tmp_path, work):
    source = items(5)
    Path(source.items[3].path).write_bytes(b"broken")
    report = send(source, max_count=2)
    packed(source, max_count=2)
    assert (report.packed, report.info.num_rejected) == (4, 1)
    assert s3.files(PREFIX) == files_of(tmp_path / "out")
    assert left_in(work) == []


def test_dataset_json_comes_last_and_one_shard_lies_here_at_a_time(s3, send, items, work):
    proxy = s3.through_proxy()
    tars = []
    proxy.watch = lambda request: tars.append(len(list(work.rglob("*.tar"))))
    send(items(6), max_count=2)
    put = [request.path.rpartition("/")[2] for request in proxy.requests if request.method == "PUT"]
    shards = [f"train-00000{i}.tar" for i in range(3)]
    assert put == [CLAIM_NAME, *shards, "manifest.parquet", "rejected.jsonl", "dataset.json"]
    assert max(tars) == 1
    assert CLAIM_NAME not in s3.files(PREFIX)


def test_one_request_in_four_failing_changes_nothing(s3, listed, files_of, command, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    arguments = listed(8)
    assert command(*arguments, "--out", tmp_path / "out").returncode == 0
    proxy = s3.through_proxy(rate=0.25, seed=3)
    done = command(*arguments, "--out", s3.root(PREFIX))
    assert done.returncode == 0, done.stderr
    assert s3.root(PREFIX) in done.stdout
    assert proxy.num_faults > 3
    assert s3.files(PREFIX) == files_of(tmp_path / "out")
    assert left_in(tmp_path / "cache") == []


def test_a_large_shard_goes_in_parts_and_survives_faults(s3, send, items, packed, files_of, tmp_path):
    source = items(2, sizes=[PART_BYTES + 1234, 2 * PART_BYTES + 77])
    packed(source, max_count=1)
    proxy = s3.through_proxy(rate=0.15, seed=1)
    send(source, max_count=1)
    assert sum("partNumber" in request.path for request in proxy.requests) >= 5
    assert proxy.num_faults > 0
    assert s3.files(PREFIX) == files_of(tmp_path / "out")


def test_parts_that_a_killed_upload_has_left_are_dropped(s3, send, items):
    keys = [f"{PREFIX}/train-000000.tar", f"{PREFIX}/train-000000.tar.other"]
    for key in keys:
        s3.client.create_multipart_upload(Bucket=s3.name, Key=key)
    send(items(1))
    found = s3.client.list_multipart_uploads(Bucket=s3.name)["Uploads"]
    assert [upload["Key"] for upload in found] == keys[1:]


def test_an_answer_lost_after_the_upload_was_completed_does_no_harm(s3, send, items, packed, files_of, tmp_path):
    source = items(1, sizes=[PART_BYTES + 1234])
    packed(source)
    proxy = s3.through_proxy()
    completed = []

    def lose_the_first_completion(request):
        if request.method == "POST" and "uploadId" in request.path and not completed:
            completed.append(request)
            proxy.rate, proxy.kinds = 1.0, ("reset",)
        else:
            proxy.rate = 0.0

    proxy.watch = lose_the_first_completion
    send(source)
    assert completed
    assert s3.files(PREFIX) == files_of(tmp_path / "out")


@pytest.mark.parametrize("number", [3, 9, 15, *(pytest.param(number, marks=pytest.mark.long) for number in (6, 12))])
def test_a_run_killed_at_any_request_is_finished_by_the_same_command(
    number, s3, listed, files_of, command, tmp_path, work
):
    arguments = listed(4, sizes=[20_000, PART_BYTES + 1234, 20_000, 20_000])
    assert command(*arguments, "--out", tmp_path / "out").returncode == 0
    whole = files_of(tmp_path / "out")

    arguments += ["--out", s3.root(PREFIX), "--work-dir", str(work)]
    proxy = s3.through_proxy()
    process: list[subprocess.Popen[bytes]] = []

    def kill(request):
        if len(proxy.requests) == number:
            os.kill(process[0].pid, signal.SIGKILL)

    proxy.watch = kill
    process.append(subprocess.Popen([sys.executable, "-m", "vidflow", *arguments], stderr=subprocess.PIPE))
    process[0].communicate(timeout=60)
    assert process[0].returncode == -signal.SIGKILL, "fewer requests than that: the test must be changed"
    there = s3.files(PREFIX)
    there.pop(CLAIM_NAME, None)
    assert there == {name: whole[name] for name in there}

    proxy.watch = lambda request: None
    again = command(*arguments)
    assert again.returncode == 0, again.stderr
    assert s3.files(PREFIX) == whole
    assert left_in(work) == []
    assert "Uploads" not in s3.client.list_multipart_uploads(Bucket=s3.name)


def test_a_rerun_goes_on_after_the_shards_that_are_there(s3, send, items, monkeypatch):
    source = items(4)
    proxy = s3.through_proxy()
    monkeypatch.setenv("VIDFLOW_STORAGE_ATTEMPTS", "1")
    proxy.kinds, proxy.spoils = ("status",), lambda request: "train-000002" in request.path
    with pytest.raises(StorageError, match=r"train-000002.tar: .*run the same command again, finished shards are kept"):
        send(source, max_count=1)
    proxy.spoils = lambda request: False
    proxy.requests.clear()
    assert send(source, max_count=1).num_resumed == 2
    put = [request.path.rpartition("/")[2] for request in proxy.requests if request.method == "PUT"]
    assert put[0] == "train-000002.tar"


def test_a_finished_data_set_is_recognised_without_sending_anything(s3, send, items):
    source = items(3)
    first = send(source)
    proxy = s3.through_proxy()
    again = send(source)
    assert again.already_complete
    assert again.info == first.info
    assert {request.method for request in proxy.requests} == {"GET", "HEAD"}


def test_another_data_set_is_refused_and_replaced_on_request(s3, send, items):
    send(items(3), max_count=1)
    with pytest.raises(DataError, match=rf"{s3.root(PREFIX)}: holds a data set that was packed otherwise: max_count"):
        send(items(3), max_count=3)
    s3.put({"notes.txt": b"mine"}, PREFIX)
    send(items(3), max_count=3, overwrite=True)
    names = set(s3.files(PREFIX))
    assert names == {"train-000000.tar", "manifest.parquet", "rejected.jsonl", "dataset.json", "notes.txt"}


def test_a_finished_data_set_with_a_missing_shard_is_named(s3, send, items):
    send(items(3))
    s3.client.delete_object(Bucket=s3.name, Key=f"{PREFIX}/train-000000.tar")
    with pytest.raises(DataError, match=rf"{s3.root(PREFIX)}/train-000000.tar: missing or cut"):
        send(items(3))


def test_shards_of_unknown_origin_are_refused(s3, send, items, work):
    s3.put({"train-000007.tar": b"whose?"}, PREFIX)
    with pytest.raises(DataError, match=r"holds train-000007.tar of unknown origin"):
        send(items(1))
    assert left_in(work) == []


def test_a_second_machine_is_kept_out_until_the_first_has_ended(s3, send, items, tmp_path, files_of):
    source = items(4)
    proxy = s3.through_proxy()
    refused: list[str] = []

    def pack_elsewhere(request):
        if request.method == "PUT" and request.path.endswith("train-000001.tar") and not refused:
            refused.append("not yet")
            with pytest.raises(StorageError) as error:
                pack(source, s3.root(PREFIX), PackOptions(max_count=1), workers=1, work_dir=tmp_path / "other")
            refused.append(str(error.value))

    proxy.watch = pack_elsewhere
    send(source, max_count=1)
    assert len(refused) == 2
    assert re.search(rf"{s3.root(PREFIX)}: a run on .* writes there since 20.*; wait for it", refused[1])
    assert left_in(tmp_path / "other") == []
    again = pack(source, s3.root(PREFIX), PackOptions(max_count=1), workers=1, work_dir=tmp_path / "other")
    assert again.already_complete


def test_a_run_that_was_taken_over_does_not_finish(s3, send, items):
    proxy = s3.through_proxy()

    def take_over(request):
        if request.method == "PUT" and request.path.endswith("manifest.parquet"):
            s3.put({CLAIM_NAME: b'{"token": "other", "host": "another.host"}'}, PREFIX)

    proxy.watch = take_over
    with pytest.raises(StorageError, match=r"was taken over by a run on another.host while this run wrote there"):
        send(items(2))
    assert "dataset.json" not in s3.files(PREFIX)
    assert s3.files(PREFIX)[CLAIM_NAME].startswith(b'{"token": "other"'), "the other run's claim must stay"


def test_overwrite_clears_the_claim_of_a_run_that_will_not_come_back(s3, send, items):
    s3.put({CLAIM_NAME: b"not even JSON"}, PREFIX)
    with pytest.raises(StorageError, match="writes there since"):
        send(items(2))
    assert send(items(2), overwrite=True).packed == 2
    assert CLAIM_NAME not in s3.files(PREFIX)


def test_a_claim_whose_answer_was_lost_is_known_as_ours(s3, send, items):
    proxy = s3.through_proxy()
    proxy.kinds = ("reset",)
    lost = []

    def lose_the_first_claim(request):
        proxy.rate = 1.0 if request.method == "PUT" and request.path.endswith(CLAIM_NAME) and not lost else 0.0
        if proxy.rate:
            lost.append(request)

    proxy.watch = lose_the_first_claim
    assert send(items(1)).packed == 1
    assert lost


def test_a_shard_is_sent_while_the_next_one_is_made(s3, items, work):
    proxy = s3.through_proxy()
    held, seen = threading.Event(), []

    def hold_the_first_shard(request):
        if request.method == "PUT" and request.path.endswith("train-000000.tar"):
            held.wait(20)

    def note(done):
        seen.append(done)
        if done == 4:  # the second shard is full: its first sample came in while the first shard was on its way
            held.set()

    proxy.watch = hold_the_first_shard
    options = PackOptions(max_count=2)
    pack(items(5), s3.root(PREFIX), options, workers=1, work_dir=work, on_progress=note)
    assert held.is_set()
    assert seen == list(range(6))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kills_at_random_moments_leave_no_trace(s3, listed, files_of, command, tmp_path, work):
    arguments = listed(8, sizes=[20_000, PART_BYTES + 1234, *[20_000] * 6])
    assert command(*arguments, "--out", tmp_path / "out").returncode == 0
    whole = files_of(tmp_path / "out")
    arguments += ["--out", s3.root(PREFIX), "--work-dir", str(work)]
    start = time.monotonic()
    assert command(*arguments).returncode == 0
    whole_seconds = time.monotonic() - start
    s3.clear(PREFIX)
    s3.through_proxy(rate=0.05, seed=1)
    rng = random.Random(0)
    kills = 0
    while kills < NUM_KILLS:
        process = subprocess.Popen([sys.executable, "-m", "vidflow", *arguments], stdout=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.3, 1) * whole_seconds)
        if process.poll() is None:
            process.kill()
            kills += 1
        process.wait()
        there = s3.files(PREFIX)
        there.pop(CLAIM_NAME, None)
        assert there == {name: whole[name] for name in there}
        if "dataset.json" in there:  # it was faster: a rerun only tidies up, and the next one starts anew
            assert command(*arguments).returncode == 0
            assert s3.files(PREFIX) == whole
            s3.clear(PREFIX)
    again = command(*arguments)
    assert again.returncode == 0, again.stderr
    assert s3.files(PREFIX) == whole
    assert left_in(work) == []


def test_an_object_that_differs_from_what_was_sent_is_sent_again(s3, send, items, packed, files_of, tmp_path):
    source = items(2)
    packed(source)
    whole = files_of(tmp_path / "out")["train-000000.tar"]
    proxy = s3.through_proxy()
    spoilt = []

    def spoil_once(request):
        if request.method == "HEAD" and request.path.endswith("train-000000.tar") and not spoilt:
            spoilt.append(request)
            s3.put({"train-000000.tar": whole[::-1]}, PREFIX)

    proxy.watch = spoil_once
    send(source)
    assert spoilt
    assert s3.files(PREFIX) == files_of(tmp_path / "out")


def test_a_server_that_stays_down_leaves_the_finished_shard_here_and_says_so(s3, send, items, monkeypatch):
    monkeypatch.setenv("VIDFLOW_STORAGE_ATTEMPTS", "2")
    proxy = s3.through_proxy(rate=1.0)
    proxy.kinds = ("status",)
    with pytest.raises(StorageError, match=r"gave up after 2 attempts; check the network"):
        send(items(1))


def test_a_bucket_that_is_not_there_is_named_and_nothing_stays_here(s3, items, work):
    with pytest.raises(StorageError, match=r"s3://nobodys-bucket/x: no such bucket"):
        pack(items(1), "s3://nobodys-bucket/x", PackOptions(), workers=1, work_dir=work)
    assert left_in(work) == []


@pytest.mark.parametrize("out", ["http://host/x", "https://host/x", "gs://bucket/x"])
def test_other_addresses_cannot_be_written_to(out, items):
    with pytest.raises(StorageError, match=f"--out {out}: cannot be written to; give a folder or s3://"):
        pack(items(1), out, PackOptions(), workers=1)


def test_a_work_folder_without_s3_is_refused(command, tree, tmp_path):
    done = command("shard", "--src", tree("train/a/x.mp4"), "--out", tmp_path / "out", "--work-dir", tmp_path / "w")
    assert done.returncode == 2
    assert "is for --out s3://" in done.stderr.replace("\n", " ")


def test_each_address_has_a_work_folder_of_its_own(tmp_path):
    folders = {work_folder(f"s3://{name}", tmp_path) for name in ("b/a/b", "b/a-b", "b/a/c", "c/a/b")}
    assert len(folders) == 4
    assert work_folder("s3://b/a/b", tmp_path) in folders


def test_the_client_is_told_how_often_to_try(monkeypatch):
    monkeypatch.setenv("VIDFLOW_STORAGE_ATTEMPTS", "0")
    with pytest.raises(StorageError, match="VIDFLOW_STORAGE_ATTEMPTS=0: must be a positive number"):
        Patience.from_environment()
