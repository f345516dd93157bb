"""``inspect``, ``verify`` and ``bench`` say of a remote data set what they say of the local one."""

import json

import pytest


@pytest.fixture
def local(items, packed, tmp_path):
    packed(items(6), max_count=4)
    return tmp_path / "out"


@pytest.fixture(params=["http", "s3"])
def root(request, local, files_of):
    if request.param == "s3":
        return request.getfixturevalue("s3").put(files_of(local))
    server = request.getfixturevalue("file_server")
    server.files |= {f"sets/{name}": data for name, data in files_of(local).items()}
    return f"{server.address}/sets"


def test_inspect(root, local, command):
    found, expected = (json.loads(command("inspect", place, "--json").stdout) for place in (root, local))
    assert found.pop("root") == root
    expected.pop("root")
    assert found == expected


def test_verify(root, command):
    done = command("verify", root, "--workers", "2")
    assert (done.returncode, done.stdout) == (0, f"{root}: 6 samples in 2 shards, decoded and as recorded\n"), done


def test_verify_finds_an_altered_shard(s3, local, files_of, command):
    files = files_of(local)
    data = bytearray(files["train-000001.tar"])
    data[700] ^= 1
    done = command("verify", s3.put(files | {"train-000001.tar": bytes(data)}), "--no-decode")
    assert done.returncode == 8
    assert "train-000001.tar: its SHA-256 is not the one of dataset.json" in done.stdout


def test_bench(root, command):
    options = ("--samples", "4", "--batch-size", "2", "--repeats", "1", "--threads", "1", "--baseline", "ranges")
    done = command("bench", root, *options, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    peer = report["baselines"]["ranges"]
    assert peer["ratio"] == pytest.approx(report["stages"]["read"]["mb_per_s"] / peer["mb_per_s"])


def test_bench_names_peers_that_read_local_shards_only(root, command):
    done = command("bench", root, "--batch-size", "2", "--baseline", "cat")
    assert done.returncode == 3
    assert "this baseline reads local shards only" in done.stderr.replace("\n", "")


def test_an_address_that_holds_nothing_is_one_line(s3, command):
    done = command("inspect", s3.root())
    assert done.returncode == 3
    assert f"{s3.root()}/dataset.json: no such file" in done.stderr.replace("\n", "")
    assert "Traceback" not in done.stderr
