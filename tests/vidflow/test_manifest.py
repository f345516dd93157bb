"""Manifest rows come back as they went in, queries keep what they say, and other files are refused by name."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vidflow import manifest
from vidflow.errors import DataError
from vidflow.schema import SampleRecord, VideoInfo


def _write(path: Path, rows) -> Path:
    pq.write_table(manifest.to_table(manifest.to_row(*row) for row in rows), path)
    return path


def _read(path: Path) -> list[tuple]:
    return [manifest.from_row(row) for row in manifest.read_table(path, str(path)).to_pylist()]


def test_rows_come_back_from_parquet(tmp_path, make_row):
    rows = [make_row(index) for index in range(5)]
    back = _read(_write(tmp_path / "m.parquet", rows))
    assert back == rows
    # Also to the byte as they are written beside the media.
    assert [record.model_dump_json() for record, _ in back] == [record.model_dump_json() for record, _ in rows]


def test_every_kind_of_value_comes_back(tmp_path, make_row, video_values):
    variable = VideoInfo.model_validate(
        video_values
        | {"pts_step": None, "pts": (0, 1, 2**40, 2**41), "pts_start": 0, "rotation": 270, "header_num_frames": 9}
    )
    unseekable = VideoInfo.model_validate(
        video_values
        | {"pts_step": None, "seekable": False, "codec_profile": None, "variable_frame_rate": True, "key_frames": ()}
    )
    other_kinds = [
        make_row(2, kind="frames", video=None, frames={"container": "jpg", "num_frames": 3, "width": 8, "height": 6}),
        make_row(
            5,
            kind="skeleton",
            video=None,
            skeleton={"layout": "msr20", "num_people": 1, "num_frames": 9, "num_keypoints": 20, "num_coords": 3},
            captions=("one person", "walks"),
        ),
        make_row(
            6,
            kind="audio",
            video=None,
            audio={
                "container": "wav",
                "codec": "pcm_s16le",
                "sample_rate": 8000,
                "num_channels": 1,
                "num_samples": 2**33,
                "duration": 2**33 / 8000,
            },
            boxes=({"time": 0.04, "x1": 0.1, "y1": 0.0, "x2": 1.0, "y2": 0.3, "labels": (0, 1), "person": 7},),
        ),
        make_row(8, kind="audio", video=None, audio={"container": "mel.npy", "num_mel_frames": 126, "num_mels": 80}),
        make_row(
            7,
            kind="feature",
            video=None,
            feature={"num_steps": 100, "num_features": 400, "seconds_per_step": 0.8},
            segments=({"start": 0.1, "end": 3.7, "label": 1}, {"start": 5, "end": 6, "label": 0}),
            moments=({"start": 0.1, "end": 3.7, "text": "a person sits"}, {"start": 5, "end": 6, "text": "漢字"}),
            questions=(
                {"id": "7", "text": "who?", "answers": ("man", "okapi"), "labels": (1,)},
                {"choices": ("a", "b", "c"), "right_choice": 2},
            ),
        ),
    ]
    rows = [
        make_row(0, video=variable, labels=(), group="a\nb"),
        make_row(1, video=unseekable, labels=(5, 0, 7)),
        *other_kinds,
        make_row(3, id="Ünïcode/漢字 😀.mp4"),
        make_row(4, id="caf\\udce9.mp4"),
    ]
    assert _read(_write(tmp_path / "m.parquet", rows)) == rows


def test_a_row_that_comes_back_still_computes_its_time_stamps(tmp_path, make_row):
    ((record, _),) = _read(_write(tmp_path / "m.parquet", [make_row(0)]))
    assert record.video.timestamps.tolist() == [1024, 1536, 2048, 2560]


def test_an_empty_manifest_comes_back(tmp_path):
    assert _read(_write(tmp_path / "m.parquet", [])) == []


def test_label_is_the_first_label(video_values):
    video = VideoInfo.model_validate(video_values)
    rows = [SampleRecord(key="1", id="a", split="train", labels=labels, video=video) for labels in ((), (4,), (7, 2))]
    place = {"shard": "s", "offset": 0, "length": 1, "data_offset": 0, "data_length": 1}
    table = manifest.to_table([manifest.to_row(r, manifest.Location(**place)) for r in rows])
    assert table.column("label").to_pylist() == [None, 4, 7]


def test_a_raw_surrogate_cannot_enter_a_table(make_row):
    row = manifest.to_row(*make_row(0)) | {"id": "caf\udce9"}
    with pytest.raises(UnicodeEncodeError):
        manifest.to_table([row])


def test_a_manifest_can_be_read_from_memory(tmp_path, make_row):
    data = _write(tmp_path / "m.parquet", [make_row(0)]).read_bytes()
    assert len(manifest.read_table(io.BytesIO(data), "memory")) == 1


def test_a_manifest_from_before_moments_and_questions_has_none(tmp_path, make_row):
    rows = [make_row(0)]
    table = manifest.to_table([manifest.to_row(*row) for row in rows]).drop_columns(["moments", "questions"])
    pq.write_table(table, tmp_path / "m.parquet")
    assert _read(tmp_path / "m.parquet") == rows


def test_extra_columns_are_left_out(tmp_path, make_row):
    table = manifest.to_table([manifest.to_row(*make_row(0))]).append_column("note", pa.array(["x"]))
    pq.write_table(table, tmp_path / "m.parquet")
    assert manifest.read_table(tmp_path / "m.parquet", "m").schema.names == manifest.SCHEMA.names


@pytest.mark.parametrize("content", [b"", b"not parquet at all", b"PAR1" + b"\0" * 40 + b"PAR1"])
def test_a_file_that_is_no_parquet_is_named(tmp_path, content):
    path = tmp_path / "m.parquet"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"^here: not a readable Parquet manifest .*pack the data set again"):
        manifest.read_table(path, "here")


def test_a_cut_off_manifest_is_named(tmp_path, make_row):
    path = _write(tmp_path / "m.parquet", [make_row(index) for index in range(3)])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"^here: not a readable Parquet manifest"):
        manifest.read_table(path, "here")


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(DataError, match=r"^here: not a readable Parquet manifest"):
        manifest.read_table(tmp_path / "none.parquet", "here")


@pytest.mark.parametrize(("metadata", "found"), [(None, "none"), ({"vidflow_schema_version": "999"}, "999")])
def test_another_schema_version_is_refused(tmp_path, make_row, metadata, found):
    table = manifest.to_table([manifest.to_row(*make_row(0))]).replace_schema_metadata(metadata)
    pq.write_table(table, tmp_path / "m.parquet")
    with pytest.raises(
        DataError, match=f"^here: schema version {found}, this vidflow reads 1; pack the data set again"
    ):
        manifest.read_table(tmp_path / "m.parquet", "here")


def test_a_manifest_from_before_mel_features_is_read(tmp_path, make_row):
    table = manifest.to_table([manifest.to_row(*make_row(0))])
    pq.write_table(table.drop_columns(["num_mel_frames", "num_mels"]), tmp_path / "m.parquet")
    assert manifest.read_table(tmp_path / "m.parquet", "here").to_pylist() == table.to_pylist()


def test_a_missing_column_is_named(tmp_path, make_row):
    table = manifest.to_table([manifest.to_row(*make_row(0))]).drop_columns(["fps", "shard"])
    pq.write_table(table, tmp_path / "m.parquet")
    with pytest.raises(DataError, match=r"^here: no column fps, shard; pack the data set again"):
        manifest.read_table(tmp_path / "m.parquet", "here")


@pytest.fixture
def table(make_row) -> pa.Table:
    return manifest.to_table(manifest.to_row(*make_row(index)) for index in range(8))


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ("duration > 5", [5, 6, 7]),
        ("duration > 2 and label < 1", [2, 4, 6]),
        ("split == 'val' or key == '000000000'", [0, 3, 7]),
        ("id.str.contains('clip.4', regex=False)", [4]),
        ("label in [1]", [1, 3, 5, 7]),
        ("not seekable", []),
        ("seekable", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("codec == 'h264' and width * height >= 340 * 256", [0, 1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_a_query_keeps_what_it_says_in_order(table, where, kept):
    assert manifest.query(table, where) == kept


@pytest.mark.parametrize("where", ["duration >", "lenght > 2", "", "duration > 'long'", "@frame", "__import__('os')"])
def test_a_query_that_does_not_work_names_the_columns(table, where):
    with pytest.raises(DataError, match=r"does not work .*the columns are label, key, id, split"):
        manifest.query(table, where)


@pytest.mark.parametrize("where", ["label", "duration + 1", "1 == 1", "extra = 1", "'text'"])
def test_a_query_that_is_no_condition_is_refused(table, where):
    # A bare column of numbers must not count as row positions.
    with pytest.raises(DataError, match=r"is no condition on the samples|does not work"):
        manifest.query(table, where)
