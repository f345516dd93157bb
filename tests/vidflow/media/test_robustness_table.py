"""The table of docs/robustness.md: its script works, and it lists what the tests cover."""

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_robustness", DOCS / "make_robustness.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_lists_every_odd_file(odd_media):
    text = (DOCS / "robustness.md").read_text(encoding="utf-8")
    assert [name for name in odd_media if f"\n| {name} | " not in text] == []
    assert "WRONG" not in text


def test_outcomes_come_from_a_process_of_their_own(script, odd_media):
    found = script.outcome_apart(odd_media["rot90.mp4"])
    assert found["error"] == found["conceal"]
    assert found["error"] == {
        "text": "30 frames, 160x120, 30 fps, h264 yuv420p in mp4; turned by 90°",
        "wrong": "",
    }
    bad = script.outcome_apart(odd_media["audio_only.mp4"])["error"]
    assert bad == {"text": "rejected: no video stream (streams: audio)", "wrong": ""}


def test_a_wrong_frame_would_be_seen(script, odd_media):
    path = odd_media["base.mp4"]
    info = script.probe_video(path)
    assert script.check(path, info) == []
    shifted = info.model_copy(update={"pts_start": info.pts_start + info.pts_step, "num_frames": 59})
    assert script.check(path, shifted) != []


def test_a_crash_is_an_outcome(script, odd_media, monkeypatch):
    monkeypatch.setattr(script.sys, "executable", "/bin/false")
    assert script.outcome_apart(odd_media["base.mp4"])["error"]["wrong"] == "crash"
