"""Data sets with sentences and questions in miniature, and features beside them; see `Miniature` in conftest."""

import io
import json
from typing import Any

import numpy as np
import torch

from vidflow.members import to_npy


def _tensor(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    torch.save(torch.from_numpy(array), file)
    return file.getvalue()


_CHARADES = {
    "train": "AO8RW 0.0 0.1##a person is putting a book on a shelf.\n"
    "Y6R7T 0.02 0.08##person begins to play on a phone.\n"
    "AO8RW 0.05 0.12##person ## smiles.\n"
    "AO8RW 0.1 0.05##a person goes back in time.\n",
    "test": "3MSZA 0.05 0.1##person turn a light on.\n",
}
_SENTENCES = {
    "AO8RW": ((0.0, 0.1, "a person is putting a book on a shelf."), (0.05, 0.12, "person ## smiles.")),
    "Y6R7T": ((0.02, 0.08, "person begins to play on a phone."),),
    "3MSZA": ((0.05, 0.1, "person turn a light on."),),
}
_CHARADES_SAMPLES = frozenset({("AO8RW", "train", ()), ("Y6R7T", "train", ()), ("3MSZA", "test", ())})


def _charades() -> dict[str, Any]:
    return {
        "lists": {f"charades_sta_{split}.txt": text for split, text in _CHARADES.items()},
        "videos": ("Charades_v1_480/AO8RW.mp4", "Charades_v1_480/Y6R7T.mp4", "Charades_v1_480/3MSZA.mp4"),
        "samples": _CHARADES_SAMPLES,
        "indices": {},
        "notes": _SENTENCES,
    }


def _charades_features() -> dict[str, Any]:
    """AO8RW is told to be shorter than its second sentence, which is cut there."""
    seconds = {"AO8RW": 0.1, "Y6R7T": 30.0, "3MSZA": 31.0}
    features = np.arange(12, dtype=np.float32).reshape(3, 4)
    first, second = _SENTENCES["AO8RW"]
    return {
        "lists": {
            **{f"Charades_sta_{split}.txt": text for split, text in _CHARADES.items()},
            "Charades_duration.json": json.dumps(seconds),
            "Charades_fps_dict.json": json.dumps(dict.fromkeys(seconds, 24.0)),
        },
        "videos": (),
        "media": {f"C3D_unit16_overlap0.5_merged/{name}.pt": _tensor(features) for name in seconds},
        "samples": _CHARADES_SAMPLES,
        "indices": {},
        "notes": {**_SENTENCES, "AO8RW": (first, (second[0], 0.1, second[2]))},
    }


def _youcook() -> dict[str, Any]:
    def entry(subset: str, *notes: tuple[float, float, str]) -> dict[str, Any]:
        marks = [{"id": i, "segment": [start, end], "sentence": text} for i, (start, end, text) in enumerate(notes)]
        return {"duration": 0.16, "subset": subset, "recipe_type": "101", "video_url": "u", "annotations": marks}

    table = {
        "YSes0R7EksY": entry("training", (0, 1, "wash the tomatoes"), (0.05, 0.1, "slice them"), (2, 3, "too late")),
        "xHr8X2Wpmno": entry("validation", (0.02, 0.1, "pick the ends off the verdalago")),
    }
    return {
        "lists": {"youcookii_annotations_trainval.json": json.dumps({"database": table})},
        "videos": ("raw_videos/training/101/YSes0R7EksY.mkv", "raw_videos/validation/226/xHr8X2Wpmno.mp4"),
        "samples": frozenset({("YSes0R7EksY", "train", ()), ("xHr8X2Wpmno", "val", ())}),
        "indices": {},
        "notes": {
            "YSes0R7EksY": ((0, 0.16, "wash the tomatoes"), (0.05, 0.1, "slice them")),
            "xHr8X2Wpmno": ((0.02, 0.1, "pick the ends off the verdalago"),),
        },
    }


def _msrvtt_qa() -> dict[str, Any]:
    """The test has an answer that is not in the list of answers, and one question that two people answered."""

    def entries(*rows: tuple[int, str, str, object]) -> str:
        names = ("question_id", "video", "question", "answer")
        return json.dumps([dict(zip(names, row, strict=True)) for row in rows])

    train = ((0, "video0.mp4", "what is a car shown?", "car"), (1, "video0.mp4", "who drives?", "man"))
    test = ((7, "video7010.mp4", "what runs?", "okapi"), (8, "video7010.mp4", "who sees it?", ["man", "woman", "man"]))
    return {
        "lists": {
            "annotations/msrvtt_qa_answer_list.json": json.dumps(["man", "woman", "car"]),
            "annotations/msrvtt_qa_train.json": entries(*train),
            "annotations/msrvtt_qa_val.json": entries((5, "video6513.mp4", "who sings?", "woman")),
            "annotations/msrvtt_qa_test.json": entries(*test),
        },
        "videos": ("videos/video0.mp4", "videos/video6513.mp4", "videos/video7010.mp4", "videos/video9.mp4"),
        "samples": frozenset(
            {
                ("video0.mp4", "train", ("car", "man")),
                ("video6513.mp4", "val", ("woman",)),
                ("video7010.mp4", "test", ("man", "woman")),
            }
        ),
        "indices": {"man": 0, "woman": 1, "car": 2},
        "unlisted": 1,
        "notes": {
            "video0.mp4": (
                ("0", "what is a car shown?", ("car",), (2,), (), None),
                ("1", "who drives?", ("man",), (0,), (), None),
            ),
            "video6513.mp4": (("5", "who sings?", ("woman",), (1,), (), None),),
            "video7010.mp4": (
                ("7", "what runs?", ("okapi",), (), (), None),
                ("8", "who sees it?", ("man", "woman", "man"), (0, 1), (), None),
            ),
        },
    }


def _msrvtt_ret() -> dict[str, Any]:
    train = [{"video": "video0.mp4", "caption": ["a dog", "a cat"]}, {"video": "video0.mp4", "caption": "a cow"}]
    return {
        "lists": {
            "annotations/msrvtt_ret_train9k.json": json.dumps(train),
            "annotations/msrvtt_ret_test1k.json": json.dumps([{"video": "video7020.mp4", "caption": "a woman"}]),
        },
        "videos": ("videos_2fps_224/video0.mp4", "videos_2fps_224/video7020.mp4"),
        "samples": frozenset({("video0.mp4", "train", ()), ("video7020.mp4", "test", ())}),
        "indices": {},
        "notes": {"video0.mp4": ("a dog", "a cat", "a cow"), "video7020.mp4": ("a woman",)},
    }


def _msrvtt_mc() -> dict[str, Any]:
    captions = [f"caption {i}" for i in range(5)]
    return {
        "lists": {
            "annotations/msrvtt_mc_test.json": json.dumps(
                [{"video": "video7010.mp4", "caption": captions, "answer": 3}]
            )
        },
        "videos": ("videos_2fps_224/video7010.mp4",),
        "samples": frozenset({("video7010.mp4", "test", ())}),
        "indices": {},
        "notes": {"video7010.mp4": ((None, "", (), (), tuple(captions), 3),)},
    }


def _thumos14_features() -> dict[str, Any]:
    """20 classes, as published, in the first video; one segment reaches beyond the end."""
    names = ["BaseballPitch", "CliffDiving", "Diving", *(f"Sport{i:02d}" for i in range(17))]
    notes = [{"label": name, "segment": [i, i + 1.5], "label_id": i} for i, name in enumerate(names)]
    table = {
        "video_validation_0000051": {"subset": "Validation", "duration": 20.0, "fps": 30.0, "annotations": notes},
        "video_test_0000004": {"subset": "Test", "duration": 33.7, "fps": 25.0, "annotations": notes[:1]},
    }
    marks = tuple((float(i), min(i + 1.5, 20.0), name) for i, name in enumerate(names))
    features = to_npy(np.arange(8, dtype=np.float32).reshape(4, 2))
    return {
        "lists": {"annotations/thumos14.json": json.dumps({"version": "Thumos14-30fps", "database": table})},
        "videos": (),
        "media": {f"i3d_features/{name}.npy": features for name in (*table, "video_test_0000001")},
        "samples": frozenset(
            {
                ("video_validation_0000051", "val", tuple(names)),
                ("video_test_0000004", "test", ("BaseballPitch",)),
            }
        ),
        "indices": {"BaseballPitch": 0, "CliffDiving": 1, "Diving": 2},
        "unlisted": 1,
        "notes": {"video_validation_0000051": marks, "video_test_0000004": marks[:1]},
    }


MINIATURES: dict[str, dict[str, Any]] = {
    "charades-sta": _charades(),
    "charades-sta-features": _charades_features(),
    "youcook2": _youcook(),
    "msrvtt-qa": _msrvtt_qa(),
    "msrvtt-mc": _msrvtt_mc(),
    "msrvtt-ret": _msrvtt_ret(),
    "thumos14-features": _thumos14_features(),
}
