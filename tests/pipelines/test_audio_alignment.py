"""Sound that belongs to clips: against MMAction2 1.2.0 except for its first frame, and by time stamps."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from vidflow.pipelines.audio_alignment import shared_spans, sound_spans

PARITY = Path(os.environ.get("VIDFLOW_PARITY", Path(__file__).parents[1] / "data/parity"))
CASES = [
    case
    for case in json.loads((PARITY / "ops/sampling.json").read_text())
    if case["what"].startswith("AudioFeatureSelector")
]


def test_there_are_cases():
    assert len(CASES) == 30


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["what"])
def test_spans_stop_where_the_references_do_and_start_one_frame_earlier(case):
    values, outputs = case["inputs"], case["outputs"]
    clips, steps, fixed = values["clips"], values["length"], values["fixed_length"]
    for clip, first_row, kept in zip(clips, outputs["first_row"], outputs["rows_kept"], strict=True):
        ((start, stop),) = shared_spans(np.array([clip]), num_frames=values["total_frames"], num_steps=steps).tolist()
        # The reference reads from its first element to its last one, in the clip's own order.
        late = round((clip[0] + 1) / values["total_frames"] * steps)
        assert start == round(min(clip) / values["total_frames"] * steps)
        if clip == sorted(clip):
            if len(clip) > 1:
                assert first_row == late  # rows hold their number, counted from 1: this is what it starts with, less 1
            assert kept == min(max(stop - late, 0), fixed)
        assert start < stop


def test_spans_follow_the_time_stamps_of_a_variable_rate():
    seconds = np.array([0.0, 0.1, 0.2, 1.0, 2.0])
    spans = sound_spans(np.array([[1, 2], [3, 3], [0, 4]]), seconds=seconds, duration=3.0, rate=100, num_steps=1000)
    assert spans.tolist() == [[10, 100], [100, 200], [0, 300]]


def test_sound_that_ends_early_ends_the_span():
    spans = sound_spans(np.array([[0, 9], [8, 9]]), seconds=np.arange(10.0), duration=10, rate=10, num_steps=85)
    assert spans.tolist() == [[0, 85], [80, 85]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shared_spans(np.array([[0, 10]]), num_frames=10, num_steps=5), "frames 0 to 10 reach beyond .* of 10"),
        (lambda: shared_spans(np.array([[-1, 3]]), num_frames=10, num_steps=5), "frames -1 to 3"),
        (
            lambda: sound_spans(np.array([[0]]), seconds=np.zeros(1), duration=1, rate=0, num_steps=5),
            r"rate \(0\) must be positive",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
