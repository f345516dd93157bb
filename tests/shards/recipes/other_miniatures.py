"""Other data sets in miniature, arranged as they are published; see `Miniature` in conftest."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np


def _activitynet(file: str) -> dict[str, Any]:
    """200 classes, as published; two videos with segments inside the miniature clips, and one of the test set."""
    names = ["Walking the dog", "Applying sunscreen", *(f"Class {i:03d}" for i in range(198))]
    table = {
        f"id{i:09d}": {
            "duration": 10.0, "subset": "training", "resolution": "320x240", "url": "https://example.org",
            "annotations": [{"segment": [1.5, 4.5], "label": name}],
        }
        for i, name in enumerate(names[2:])
    }  # fmt: skip
    table["---9CpRcKoU"] = {
        "duration": 0.16,
        "subset": "training",
        "annotations": [
            {"segment": [0.1, 0.5], "label": "Walking the dog"},
            {"segment": [0.0, 0.05], "label": "Applying sunscreen"},
        ],
    }
    table["-_abcdefghi"] = {
        "duration": 0.16,
        "subset": "validation",
        "annotations": [{"segment": [0.0, 0.1], "label": "Walking the dog"}],
    }
    table["testtesttes"] = {"duration": 0.16, "subset": "testing", "annotations": []}
    return {
        "lists": {file: json.dumps({"database": table, "version": "VERSION 1.3", "taxonomy": []})},
        "videos": ("videos/v_---9CpRcKoU.mp4", "videos/-_abcdefghi.mkv", "videos/v_testtesttes.mp4"),
        "samples": frozenset(
            {
                ("v_---9CpRcKoU", "train", ("Walking the dog", "Applying sunscreen")),
                ("v_-_abcdefghi", "val", ("Walking the dog",)),
            }
        ),
        "indices": {"Applying sunscreen": 0, "Class 000": 1, "Walking the dog": 199},
        "unlisted": 1,
        "missing": 198,
        "notes": {
            "v_---9CpRcKoU": ((0.1, 0.16, "Walking the dog"), (0.0, 0.05, "Applying sunscreen")),
            "v_-_abcdefghi": ((0.0, 0.1, "Walking the dog"),),
        },
    }


def _activitynet_features(file: str, folder: str) -> dict[str, Any]:
    videos = _activitynet(file)
    rows = b"f0,f1,f2\n0.5,1.5,2.5\n3.5,4.5,5.5\n"
    names = ("v_---9CpRcKoU", "-_abcdefghi", "v_testtesttes")
    return {**videos, "media": {f"{folder}/{name}.csv": rows for name in names}, "videos": ()}


def _tubes(file: str, media: str, suffix: str, labels: int) -> dict[str, Any]:
    """Two classes are there; one box reaches beyond the picture, one lies outside it."""
    names = ["Basketball", "WalkingWithDog", *(f"class {i}" for i in range(labels - 2))]
    run, walk, lost = (
        "Basketball/v_Basketball_g01_c01",
        "WalkingWithDog/v_Walk_g02_c01",
        "Basketball/v_Basketball_g03_c01",
    )
    tube = np.array([[1, 8, 6, 16, 12], [3, -4, 0, 16, 36], [3, 40, 6, 50, 12]], np.float32)
    size = (24, 32)
    content = {
        "labels": names,
        "gttubes": {run: {0: [tube, tube[:1]]}, walk: {1: [tube[:1]]}, lost: {0: [tube[:1]]}},
        "nframes": {run: 3, walk: 3, lost: 3},
        "resolution": dict.fromkeys((run, walk, lost), size),
        "train_videos": [[run, lost], [walk], [walk]],
        "test_videos": [[walk], [run], [run]],
    }
    box = (0.25, 0.25, 0.5, 0.5)
    return {
        "lists": {},
        "pickles": {file: content},
        "frames": () if suffix else (f"{media}/{run}", f"{media}/{walk}"),
        "videos": (f"{media}/{run}{suffix}", f"{media}/{walk}{suffix}") if suffix else (),
        "samples": frozenset({(run, "train", ("Basketball",)), (walk, "test", ("WalkingWithDog",))}),
        "indices": {"Basketball": 0, "WalkingWithDog": 1},
        "missing": 1,
        "notes": {
            run: ((0, *box, ("Basketball",), 0), (0, *box, ("Basketball",), 1), (2, 0, 0, 0.5, 1, ("Basketball",), 0)),
            walk: ((0, *box, ("WalkingWithDog",), 0),),
        },
    }


def _thumos14() -> dict[str, Any]:
    names = ["BaseballPitch", "Diving", "CliffDiving", *(f"Sport{i:02d}" for i in range(17))]
    lists = {}
    for side, long, first in (("val", "validation", 51), ("test", "test", 4)):
        folder = f"temporal_annotations/temporal_annotations_{long}"
        lists |= {
            f"{folder}/{name}_{side}.txt": f"video_{long}_{i + 100:07d}  0.0 0.1\n" for i, name in enumerate(names[3:])
        }
        lists[f"{folder}/BaseballPitch_{side}.txt"] = f"video_{long}_{first:07d}  0.05 0.1\n"
        lists[f"{folder}/Diving_{side}.txt"] = f"video_{long}_{first:07d}  0.0 0.05\n"
        lists[f"{folder}/CliffDiving_{side}.txt"] = f"video_{long}_{first:07d}  0.0 0.05\n"
        lists[f"{folder}/Ambiguous_{side}.txt"] = f"video_{long}_9999999  0.0 0.05\n"
    marks = ((0.0, 0.05, "CliffDiving"), (0.0, 0.05, "Diving"), (0.05, 0.1, "BaseballPitch"))
    labels = ("CliffDiving", "Diving", "BaseballPitch")
    samples = {("video_validation_0000051", "val", labels), ("video_test_0000004", "test", labels)}
    return {
        "lists": lists,
        "videos": (
            "videos/video_validation_0000051.mp4",
            "videos/video_test_0000004.mp4",
            "videos/video_test_9999999.mp4",
        ),
        "samples": frozenset(samples),
        "indices": {"BaseballPitch": 0, "CliffDiving": 1, "Diving": 2},
        "unlisted": 1,
        "missing": 2 * 17,
        "notes": {"video_validation_0000051": marks, "video_test_0000004": marks},
    }


def _ave() -> dict[str, Any]:
    """28 classes, as published; the missing videos have one each."""
    others = "".join(f"Class {i:02d}&missing{i:04d}&good&0&10\n" for i in range(26))
    marks = ((0.0, 0.1, "Church bell"), (0.05, 0.16, "Flute"))
    return {
        "lists": {
            "trainSet.txt": "Category&VideoID&Quality&StartTime&EndTime\n"
            "Church bell&RUhOCu3LNXM&good&0&0.1\nFlute&RUhOCu3LNXM&good&0.05&0.16\n" + others,
            "valSet.txt": "Flute&-cccEuH9FEA&good&0&0\n",
            "testSet.txt": "Church bell&2An2JMGMbbs&good&0.02&0.1\n",
        },
        "videos": ("AVE/RUhOCu3LNXM.mp4", "AVE/-cccEuH9FEA.mp4", "AVE/2An2JMGMbbs.mp4"),
        "samples": frozenset(
            {
                ("RUhOCu3LNXM", "train", ("Church bell", "Flute")),
                ("-cccEuH9FEA", "val", ("Flute",)),
                ("2An2JMGMbbs", "test", ("Church bell",)),
            }
        ),
        "indices": {"Church bell": 0, "Class 00": 1, "Flute": 27},
        "missing": 26,
        "notes": {"RUhOCu3LNXM": marks, "2An2JMGMbbs": ((0.02, 0.1, "Church bell"),)},
    }


def _frames(prefix: str) -> dict[str, Any]:
    return {
        "lists": {
            f"annotations/{prefix}-labels.csv": "Swiping Left\nDrumming Fingers\nHolding something, then letting go\n",
            f"annotations/{prefix}-train.csv": "34870;Drumming Fingers\n56557;Holding something, then letting go\n",
            f"annotations/{prefix}-validation.csv": "9223;Swiping Left\n",
            f"annotations/{prefix}-test.csv": "1\n",
        },
        "videos": (),
        "frames": tuple(f"20bn-{prefix}/{name}" for name in ("34870", "56557", "9223", "1")),
        "samples": frozenset(
            {
                ("34870", "train", ("Drumming Fingers",)),
                ("56557", "train", ("Holding something, then letting go",)),
                ("9223", "val", ("Swiping Left",)),
            }
        ),
        "indices": {"Swiping Left": 0, "Drumming Fingers": 1, "Holding something, then letting go": 2},
        "unlisted": 1,
    }


def _msrvtt() -> dict[str, Any]:
    def data(**splits: str) -> str:
        videos = [{"video_id": name, "split": split, "category": 9, "url": "u"} for name, split in splits.items()]
        sentences = [
            {"video_id": name, "sen_id": i, "caption": f"{word} in {name}"}
            for word in ("a dog", "a cat")
            for i, name in enumerate(splits)
        ]
        return json.dumps({"info": {}, "videos": videos, "sentences": sentences})

    return {
        "lists": {
            "train_val_videodatainfo.json": data(video0="train", video1="validate"),
            "test_videodatainfo.json": data(video2="test"),
        },
        "videos": ("videos/video0.mp4", "videos/video1.mp4", "videos/test/video2.mp4"),
        "samples": frozenset({("video0", "train", ()), ("video1", "val", ()), ("video2", "test", ())}),
        "indices": {},
        "notes": {f"video{i}": (f"a dog in video{i}", f"a cat in video{i}") for i in range(3)},
    }


def _msrvtt_1ka() -> dict[str, Any]:
    owners = _msrvtt()
    texts = [json.loads(text) for text in owners["lists"].values()]
    merged = {key: [entry for text in texts for entry in text[key]] for key in ("videos", "sentences")}
    return {
        "lists": {
            "MSRVTT_data.json": json.dumps(merged),
            "MSRVTT_train.9k.csv": "video_id\nvideo0\nvideo2\n",
            "MSRVTT_JSFUSION_test.csv": 'key,vid_key,video_id,sentence\nret0,msr1,video1,"a cat, asleep"\n',
        },
        "videos": owners["videos"],
        "samples": frozenset({("video0", "train", ()), ("video2", "train", ()), ("video1", "test", ())}),
        "indices": {},
        "notes": {**owners["notes"], "video1": ("a cat, asleep",)},
    }


def _msvd() -> dict[str, Any]:
    names = ("-4wsuPCjDBc_5_15", "mv89psg6zh4_33_46", "klteYv1Uv9A_27_33")
    captions = "".join(f"{name} {text} {name[:2]}\n" for name in names for text in ("a squirrel eats", "an animal"))
    return {
        "lists": {
            "AllVideoDescriptions.txt": f"# the corpus\n\n{captions}",
            "train_list.txt": f"{names[0]}\n",
            "val_list.txt": f"{names[1]}\n",
            "test_list.txt": f"{names[2]}\n",
        },
        "videos": tuple(f"YouTubeClips/{name}.avi" for name in names),
        "samples": frozenset((name, split, ()) for name, split in zip(names, ("train", "val", "test"), strict=True)),
        "indices": {},
        "notes": {name: (f"a squirrel eats {name[:2]}", f"an animal {name[:2]}") for name in names},
    }


def _skeletons(file: str, splits: Mapping[str, str], keypoints: int, coords: int) -> dict[str, Any]:
    """Three samples with labels 0, 1, 1; a and b are in the first split, c is in the second, a alone in further ones.

    Args:
        splits: the pickle's name of a split -> ours, the first fold's first.
    """
    rng = np.random.default_rng(0)
    entries = []
    for label, name in enumerate(("a", "b", "c")):
        entry = {"frame_dir": name, "label": min(label, 1), "total_frames": 4}
        entry["keypoint"] = rng.random((1, 4, keypoints, coords), np.float32)
        if coords == 2:
            entry |= {"keypoint_score": rng.random((1, 4, keypoints), np.float32), "img_shape": (240, 320)}
        entries.append(entry)
    members = [["a", "b"], ["c"], *([["a"]] * len(splits))]
    split = {name: members[i] for i, name in enumerate(splits)}
    ours = list(splits.values())
    return {
        "lists": {},
        "videos": (),
        "pickles": {file: {"split": split, "annotations": entries}},
        "samples": frozenset({("a", ours[0], ("0",)), ("b", ours[0], ("1",)), ("c", ours[1], ("1",))}),
        "indices": {"0": 0, "1": 1},
    }


def _kinetics_kpfiles() -> dict[str, Any]:
    """Two videos with a keypoint file each, one in a file for several."""
    rng = np.random.default_rng(0)

    def entry(name: str, label: int, **more: object) -> dict[str, Any]:
        return {
            "frame_dir": name, "label": label, "img_shape": (240, 320), "total_frames": 9,
            "frame_inds": np.array([1, 1, 5], np.int16), "box_score": np.ones(3, np.float16), "valid": {0.5: 2}, **more,
        }  # fmt: skip

    bodies = {name: {"keypoint": rng.random((3, 17, 3)).astype(np.float16)} for name in ("-a", "b", "c")}
    annotations = [entry("-a", 0), entry("b", 1), entry("c", 1, raw_file="data/k400/kpfiles/part_0.pkl")]
    return {
        "lists": {},
        "videos": (),
        "pickles": {
            "k400_2d.pkl": {"split": {"train": ["-a", "c"], "val": ["b"]}, "annotations": annotations},
            "kpfiles/-a.pkl": bodies["-a"],
            "kpfiles/vol_0/b.pkl": bodies["b"],
            "kpfiles/part_0.pkl": {"c": bodies["c"]},
        },
        "samples": frozenset({("-a", "train", ("0",)), ("b", "val", ("1",)), ("c", "train", ("1",))}),
        "indices": {"0": 0, "1": 1, "399": 399},
    }


def _kinetics_skeleton() -> dict[str, Any]:
    def label(index: int, *, shown: bool = True) -> dict[str, Any]:
        return {"has_skeleton": shown, "label": "abseiling", "label_index": index}

    body = {"pose": [0.5] * 36, "score": [0.25] * 18}
    frames = [{"frame_index": 1, "skeleton": [body, body]}, {"frame_index": 2, "skeleton": []}]
    video = json.dumps({"data": frames, "label": "abseiling", "label_index": 0}).encode()
    return {
        "lists": {
            "kinetics_train_label.json": json.dumps({"-a": label(0), "b": label(399), "c": label(1, shown=False)}),
            "kinetics_val_label.json": json.dumps({"d": label(1)}),
        },
        "videos": (),
        "media": {f"kinetics_{name}.json": video for name in ("train/-a", "train/b", "train/c", "val/d")},
        "samples": frozenset({("-a", "train", ("0",)), ("b", "train", ("399",)), ("d", "val", ("1",))}),
        "indices": {"0": 0, "399": 399},
        "unlisted": 1,
    }


_NTU60 = {"xsub_train": "train", "xsub_val": "val", "xview_train": "train", "xview_val": "val"}
_NTU120 = {name.replace("xview", "xset"): side for name, side in _NTU60.items()}
_FOLDS = {f"{side}{fold}": side for fold in (1, 2, 3) for side in ("train", "test")}

MINIATURES: dict[str, dict[str, Any]] = {
    "activitynet": _activitynet("activity_net.v1-3.min.json"),
    "hacs-segments": _activitynet("HACS_v1.1.1/HACS_segments_v1.1.1.json"),
    "activitynet-features": _activitynet_features(
        "activity_net.v1-3.min.json", "activitynet_feature_cuhk/csv_mean_100"
    ),
    "hacs-features": _activitynet_features("HACS_v1.1.1/HACS_segments_v1.1.1.json", "slowonly_feature"),
    "jhmdb-boxes": _tubes("JHMDB-GT.pkl", "Frames", "", 21),
    "ucf101-24": _tubes("UCF101v2-GT.pkl", "rgb-images", "", 24),
    "multisports": _tubes("trainval/multisports_GT.pkl", "trainval", ".mp4", 66),
    "ave": _ave(),
    "thumos14": _thumos14(),
    "jester": _frames("jester-v1"),
    "ssv1": _frames("something-something-v1"),
    "msrvtt": _msrvtt(),
    "msrvtt-1ka": _msrvtt_1ka(),
    "msvd": _msvd(),
    "ntu60-2d": _skeletons("ntu60_2d.pkl", _NTU60, 17, 2),
    "ntu60-3d": _skeletons("ntu60_3d.pkl", _NTU60, 25, 3),
    "ntu120-2d": _skeletons("ntu120_2d.pkl", _NTU120, 17, 2),
    "ntu120-3d": _skeletons("annotations/ntu120_3d.pkl", _NTU120, 25, 3),
    "kinetics400-2d": _kinetics_kpfiles(),
    "kinetics-skeleton": _kinetics_skeleton(),
    "gym99-2d": _skeletons("gym_2d.pkl", {"train": "train", "val": "val"}, 17, 2),
    "ucf101-2d": _skeletons("ucf101_2d.pkl", _FOLDS, 17, 2),
    "hmdb51-2d": _skeletons("hmdb51_2d.pkl", _FOLDS, 17, 2),
    "diving48-2d": _skeletons("diving48_2d.pkl", {"train": "train", "test": "test"}, 17, 2),
}
