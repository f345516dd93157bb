"""Packing in parts and joining them: all samples once, in any order, however often, and nothing missing unseen."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from dying import DYING

from vidflow.dataset import PackedDataset
from vidflow.errors import ConfigError, DataError
from vidflow.shards.merging import merge
from vidflow.shards.pack import PackOptions, pack
from vidflow.shards.packed_samples import rows_at
from vidflow.shards.parts import Part
from vidflow.shards.sources.items import SourceList
from vidflow.shards.verification import verify_dataset

COUNT = 3


def pack_parts(source: SourceList, out: Path, *, count: int = COUNT, **options) -> None:
    for number in range(1, count + 1):
        pack(source, out, PackOptions(max_count=4, **options), workers=1, part=Part(number, count))


@pytest.fixture
def source(items) -> SourceList:
    from dataclasses import replace

    made = items(23)
    Path(made.items[5].path).write_bytes(b"broken")
    return replace(
        made, items=tuple(replace(item, split="train" if i < 15 else "val") for i, item in enumerate(made.items))
    )


def rows(folder: Path) -> dict[str, object]:
    """Key -> record of all samples."""
    dataset = PackedDataset.open(folder)
    return {record.key: record for record, _ in rows_at(dataset, dataset.select("train"))} | {
        record.key: record for record, _ in rows_at(dataset, dataset.select("val"))
    }


def test_the_parts_together_are_the_whole(source, packed, tmp_path):
    packed(source, "whole", max_count=4)
    pack_parts(source, tmp_path / "parts")
    report = merge([tmp_path / "parts"], tmp_path / "merged")
    assert (report.num_parts, report.num_linked) == (COUNT, len(report.info.shards))
    assert rows(tmp_path / "merged") == rows(tmp_path / "whole")
    merged, whole = PackedDataset.open(tmp_path / "merged"), PackedDataset.open(tmp_path / "whole")
    assert merged.column("key").tolist() == whole.column("key").tolist()
    for name, split in whole.info.splits.items():
        found = merged.info.splits[name]
        assert (found.num_samples, found.num_frames) == (split.num_samples, split.num_frames)
    assert (tmp_path / "merged" / "rejected.jsonl").read_bytes() == (tmp_path / "whole" / "rejected.jsonl").read_bytes()
    assert merged.info.num_rejected == 1
    assert verify_dataset(merged, workers=1).differences == ()
    assert merged.info.options["parts"] == COUNT
    assert "part" not in merged.info.options


def test_joining_is_idempotent_and_does_not_heed_the_order(source, files_of, tmp_path):
    pack_parts(source, tmp_path / "parts")
    folders = sorted((tmp_path / "parts").iterdir())
    merge(folders, tmp_path / "a")
    merge([folders[2], folders[0], folders[1], folders[0]], tmp_path / "b")
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    before = files_of(tmp_path / "a")
    assert merge(folders, tmp_path / "a").already_complete
    assert files_of(tmp_path / "a") == before


def test_parts_are_joined_in_the_folder_that_holds_them(source, command, tmp_path):
    pack_parts(source, tmp_path / "parts")
    result = command("merge", tmp_path / "parts")
    assert result.returncode == 0, result.stderr
    assert "3 parts with 22 packed + 1 rejected samples" in result.stdout
    assert "complete already" in command("merge", tmp_path / "parts").stdout
    for number in range(1, COUNT + 1):
        shutil.rmtree(tmp_path / "parts" / Part(number, COUNT).folder_name)
    assert verify_dataset(PackedDataset.open(tmp_path / "parts"), workers=1).differences == ()


def test_shards_are_copied_and_checked_where_links_are_refused(source, files_of, tmp_path, monkeypatch):
    pack_parts(source, tmp_path / "parts")
    merge([tmp_path / "parts"], tmp_path / "linked")

    def refuse(*arguments):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", refuse)
    assert merge([tmp_path / "parts"], tmp_path / "copied").num_linked == 0
    assert files_of(tmp_path / "copied") == files_of(tmp_path / "linked")
    shard = next((tmp_path / "parts").glob("*/*.tar"))
    data = bytearray(shard.read_bytes())
    data[600] ^= 1
    shard.write_bytes(data)
    with pytest.raises(DataError, match="its SHA-256 is not the one"):
        merge([tmp_path / "parts"], tmp_path / "damaged")


def test_missing_parts_are_named(source, tmp_path):
    pack_parts(source, tmp_path / "parts", count=5)
    for number in (2, 4):
        shutil.rmtree(tmp_path / "parts" / Part(number, 5).folder_name)
    with pytest.raises(DataError, match="2 of 5 parts are missing: 2, 4"):
        merge([tmp_path / "parts"], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_an_unfinished_part_is_refused(source, tmp_path):
    pack_parts(source, tmp_path / "parts")
    (tmp_path / "parts" / "part-2-of-3" / "dataset.json").unlink()
    with pytest.raises(DataError, match="part-2-of-3: is not finished"):
        merge([tmp_path / "parts"], tmp_path / "merged")


def test_a_part_that_is_there_twice_is_refused(source, tmp_path):
    pack_parts(source, tmp_path / "parts")
    shutil.copytree(tmp_path / "parts" / "part-2-of-3", tmp_path / "other" / "part-2-of-3")
    with pytest.raises(DataError, match="part 2/3 is there twice"):
        merge([tmp_path / "parts", tmp_path / "other"], tmp_path / "merged")


@pytest.mark.parametrize("change", ["option", "source", "count"])
def test_parts_of_different_runs_are_refused(change, source, items, tmp_path):
    pack_parts(source, tmp_path / "parts")
    folder = tmp_path / "parts" / "part-2-of-3"
    shutil.rmtree(folder)
    if change == "count":
        pack(source, tmp_path / "parts", PackOptions(max_count=4), workers=1, part=Part(2, 4))
        message = "of another run"
    elif change == "option":
        pack(source, tmp_path / "parts", PackOptions(max_count=3), workers=1, part=Part(2, 3))
        message = "max_count was 4 and is now 3"
    else:
        pack(items(24), tmp_path / "parts", PackOptions(max_count=4), workers=1, part=Part(2, 3))
        message = "listing_sha256 was"
    with pytest.raises(DataError, match=message):
        merge([tmp_path / "parts"], tmp_path / "merged")


def test_parts_on_a_web_server_are_refused(command):
    result = command("merge", "https://host/packed/part-1-of-2", "https://host/packed/part-2-of-2")
    assert result.returncode == 3
    assert "https://host/packed/part-1-of-2: parts are joined in folders and on S3" in result.stderr


def test_parts_here_and_an_out_elsewhere_are_refused(source, tmp_path):
    pack_parts(source, tmp_path / "parts")
    with pytest.raises(ConfigError, match=r"--out s3://bucket/x: the parts .* must all be folders or all lie on S3"):
        merge([tmp_path / "parts"], "s3://bucket/x")


def test_an_empty_part_and_a_single_part_are_joined(items, packed, tmp_path):
    source = items(3)
    packed(source, "whole")
    for count in (1, 5):  # two of the five are empty
        pack_parts(source, tmp_path / f"parts{count}", count=count)
        report = merge([tmp_path / f"parts{count}"], tmp_path / f"merged{count}")
        assert (report.num_parts, sum(s.num_samples for s in report.info.splits.values())) == (count, 3)
        merged, whole = PackedDataset.open(tmp_path / f"merged{count}"), PackedDataset.open(tmp_path / "whole")
        assert merged.column("key").tolist() == whole.column("key").tolist()
        assert verify_dataset(merged, workers=1).differences == ()


def test_an_empty_part_can_be_looked_at(items, command, tmp_path):
    pack_parts(items(1), tmp_path / "parts", count=2)
    empty = tmp_path / "parts" / "part-1-of-2"
    assert command("verify", empty).returncode == 0
    looked_at = command("inspect", empty)
    assert looked_at.returncode == 3
    assert "holds no samples" in looked_at.stderr


def test_what_is_no_part_is_refused(source, packed, tmp_path):
    packed(source, "whole")
    with pytest.raises(DataError, match="is a whole data set and holds no parts"):
        merge([tmp_path / "whole"], tmp_path / "merged")
    with pytest.raises(DataError, match="no such folder"):
        merge([tmp_path / "nowhere"], tmp_path / "merged")


def test_there_may_be_more_parts_than_samples(items, tmp_path):
    pack_parts(items(2), tmp_path / "parts", count=4)
    report = merge([tmp_path / "parts"], tmp_path / "merged")
    assert (report.num_parts, report.info.splits["train"].num_samples) == (4, 2)


def test_a_part_may_have_nothing_but_rejects_but_not_all_of_them(items, tmp_path):
    source = items(3)
    Path(source.items[0].path).write_bytes(b"broken")
    pack_parts(source, tmp_path / "parts", shuffle=False)
    assert merge([tmp_path / "parts"], tmp_path / "merged").info.num_rejected == 1
    for item in source.items:
        Path(item.path).write_bytes(b"broken")
    pack_parts(source, tmp_path / "broken")
    with pytest.raises(DataError, match="no part holds a sample"):
        merge([tmp_path / "broken"], tmp_path / "none")


def test_joining_refuses_a_folder_with_something_else(source, packed, tmp_path):
    pack_parts(source, tmp_path / "parts")
    packed(source, "whole")
    with pytest.raises(DataError, match="packed otherwise"):
        merge([tmp_path / "parts"], tmp_path / "whole")
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "train-000000.tar").write_bytes(b"mine")
    with pytest.raises(DataError, match="of unknown origin"):
        merge([tmp_path / "parts"], tmp_path / "strange")
    assert (tmp_path / "strange" / "train-000000.tar").read_bytes() == b"mine"


def test_parts_that_were_packed_anew_replace_the_join_when_asked(source, files_of, tmp_path):
    pack_parts(source, tmp_path / "parts")
    merge([tmp_path / "parts"], tmp_path / "parts")
    folders = [Part(number, COUNT).folder_of(tmp_path / "parts") for number in range(1, COUNT + 1)]
    for number in range(1, COUNT + 1):
        part = Part(number, COUNT)
        pack(source, tmp_path / "parts", PackOptions(max_count=3), workers=1, part=part, overwrite=True)
    before = [files_of(folder) for folder in folders]
    with pytest.raises(DataError, match="give --overwrite to replace it"):
        merge([tmp_path / "parts"], tmp_path / "parts")
    merge([tmp_path / "parts"], tmp_path / "parts", overwrite=True)
    merge([tmp_path / "parts"], tmp_path / "fresh")
    assert rows(tmp_path / "parts") == rows(tmp_path / "fresh")
    assert [files_of(folder) for folder in folders] == before
    assert (tmp_path / "parts" / "part-1-of-3").is_dir()


def test_one_of_the_parts_is_no_place_for_the_join(source, files_of, tmp_path):
    pack_parts(source, tmp_path / "parts")
    first = Part(1, COUNT).folder_of(tmp_path / "parts")
    before = files_of(first)
    with pytest.raises(ConfigError, match="is one of the parts; give another --out"):
        merge([tmp_path / "parts"], first, overwrite=True)
    assert files_of(first) == before


@pytest.mark.parametrize("steps", [2, 6, 13])
def test_a_killed_join_is_finished_by_the_same_command(steps, source, command, files_of, tmp_path):
    pack_parts(source, tmp_path / "parts")
    merge([tmp_path / "parts"], tmp_path / "whole")
    line = ["merge", str(tmp_path / "parts"), "--out", str(tmp_path / "out")]
    killed = subprocess.run(
        [sys.executable, "-c", DYING, str(steps), *line], capture_output=True, timeout=60, check=False
    )
    assert killed.returncode == -signal.SIGKILL, "fewer steps than that: the test must be changed"
    assert not (tmp_path / "out" / "dataset.json").exists()
    again = command(*line)
    assert again.returncode == 0, again.stderr
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3"])
def test_a_part_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="write I/N"):
        Part.parse(text)


def test_the_command_packs_a_part_and_resumes_it(tree, command, tmp_path):
    root = tree(*(f"train/a/{i}.mp4" for i in range(6)))
    for part in ("2/2", "1/2"):
        result = command("shard", "--src", root, "--out", tmp_path / "out", "--part", part, "--max-count", 2)
        assert result.returncode == 0, result.stderr
        assert "3 found = 3 packed" in result.stdout
    names = {path.name for path in (tmp_path / "out").glob("*/*.tar")}
    assert names == {"train-p1-000000.tar", "train-p1-000001.tar", "train-p2-000000.tar", "train-p2-000001.tar"}
    again = command("shard", "--src", root, "--out", tmp_path / "out", "--part", "1/2", "--max-count", 2)
    assert "complete already" in again.stdout
    assert command("merge", tmp_path / "out").returncode == 0
    wrong = command("shard", "--src", root, "--out", tmp_path / "out", "--part", "3/2")
    assert wrong.returncode == 2
