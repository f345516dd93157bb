"""AVA, AVA-Kinetics and OmniSource in miniature, arranged as they are published; see `Miniature` in conftest."""

import json
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

FULL, HALF = (0.0, 0.0, 1.0, 1.0), (0.25, 0.25, 0.5, 0.75)
STAND, SIT, TALK = "stand", "sit", "talk to (e.g., self, a person, a group)"


def _actions() -> str:
    """Sit 11, stand 12 and talk 79 by name, and enough others; as in the challenge's list, some ids are not there."""
    names = {11: SIT, 12: STAND, 79: TALK, **{i: f"action {i}" for i in range(1, 81) if i not in (2, 11, 12, 16, 79)}}
    return "".join(f'item {{\n  name: "{names[i]}"\n  id: {i}\n}}\n' for i in sorted(names))


INDICES = {"action 1": 0, "(id 2)": 1, SIT: 10, STAND: 11, TALK: 78, "action 80": 79}


def _ava(version: str, year: int) -> dict[str, Any]:
    """Two videos that begin at second 900, where their first key time is; another key time is excluded."""
    train, val = "-5KQ66BBWC4", "1j20qq1JyX4"
    return {
        "lists": {
            f"annotations/ava_action_list_v{version}_for_activitynet_{year}.pbtxt": _actions(),
            f"annotations/ava_train_v{version}.csv": f"{train},0900,0.250,0.250,0.500,0.750,12,7\n"
            f"{train},0900,0.250,0.250,0.500,0.750,79,7\n{train},0900,0.000,0.000,1.000,1.000,2,1\n"
            f"{train},0904,0.250,0.250,0.500,0.750,12,7\n",
            f"annotations/ava_train_excluded_timestamps_v{version}.csv": f"{train},0904\nzzzzzzzzzzz,0905\n",
            f"annotations/ava_val_v{version}.csv": f"{val},0900,0.000,0.000,1.000,1.000,11,0\n",
            f"annotations/ava_val_excluded_timestamps_v{version}.csv": "",
        },
        "pickles": {
            "annotations/ava_dense_proposals_train.FAIR.recall_93.9.pkl": {
                f"{train},0900": np.array([[0.25, 0.25, 0.5, 0.75, 0.5], [0.5, 0.5, 0.5, 0.9, 0.9]]),
                f"{train},0901": np.array([[0.25, 0.25, 0.5, 0.75, 0.5]]),
            }
        },
        "profile": "train",
        "videos": (f"videos_15min/{train}.mp4", f"videos_15min/{val}.mkv", "videos_15min/another.mp4"),
        "samples": frozenset({(f"{train},0900", "train", (STAND, TALK)), (f"{val},0900", "val", (SIT,))}),
        "indices": INDICES,
        "unlisted": 1,
        "notes": {
            f"{train},0900": ((0, *HALF, (STAND, TALK), 7), (0, *FULL, (), 1), (0, *HALF, (), None)),
            f"{val},0900": ((0, *FULL, (SIT,), 0),),
        },
    }


def _ava_kinetics() -> dict[str, Any]:
    """One video is there twice: the clip is taken in the middle of which the key time is. One key time has nobody."""
    lists = {
        "ava_kinetics_v1_0/ava_action_list_v2.2_for_activitynet_2019.pbtxt": _actions(),
        "ava_kinetics_v1_0/kinetics_train_v1.0.csv": "o3lCwWyyc_s,12.1,0.25,0.25,0.5,0.75,12\n"
        "o3lCwWyyc_s,12.1,0.25,0.25,0.5,0.75,79\n-_aB3456789,100,,,,,\n",
        "ava_kinetics_v1_0/kinetics_val_v1.0.csv": "abcdefghijk,0003,0,0,1,1,11,-1\nwith_low_er,7\n",
    }
    return {
        "lists": lists,
        "videos": (
            "videos/sitting/o3lCwWyyc_s_000012_000022.mp4",
            "videos/talking/o3lCwWyyc_s_000006_000016.mp4",
            "videos/-_aB3456789_000095_000105.webm",
            "videos/abcdefghijk_000003_000013.mp4",
            "videos/with_low_er_000000_000010.mp4",
        ),
        "samples": frozenset(
            {
                ("o3lCwWyyc_s,0012.1", "train", (STAND, TALK)),
                ("-_aB3456789,0100", "train", ()),
                ("abcdefghijk,0003", "val", (SIT,)),
                ("with_low_er,0007", "val", ()),
            }
        ),
        "indices": INDICES,
        "unlisted": 1,
        "notes": {
            "o3lCwWyyc_s,0012.1": ((round(6.1 * 30, 6), *HALF, (STAND, TALK), None),),
            "abcdefghijk,0003": ((0, *FULL, (SIT,), None),),
        },
    }


ACTIONS = ("abseiling", "zumba", *(f"action {i:03d}" for i in range(198)))


def _omnisource(
    lists: Mapping[str, str], videos: tuple[str, ...], samples: frozenset[Any], **more: Any
) -> dict[str, Any]:
    return {
        "lists": {"annotations/k200_actions.txt": "\n".join(ACTIONS), **lists},
        "videos": videos,
        "samples": samples,
        "indices": {"abseiling": 0, "zumba": 1, "action 197": 199},
        **more,
    }


def _picture(value: int) -> bytes:
    return cv2.imencode(".jpg", np.full((24, 32, 3), value, np.uint8))[1].tobytes()


def _pictures(name: str, prefix: str) -> dict[str, Any]:
    """Two pictures of one name, which differ in their folders; another one is not in the list."""
    names = ("000/00/000001.jpg", "001/00/000001.jpg")
    lines = {f"{prefix}{names[0]}": "abseiling", f"{prefix}{names[1]}": "zumba"}
    media = "googleimage_200" if name == "webimage" else f"{name}_200"
    return _omnisource(
        {
            f"annotations/{name}_200/tsn_8seg_{name}_200_wodup.txt": "".join(
                f"{path} {ACTIONS.index(label)}\n" for path, label in lines.items()
            )
        },
        (),
        frozenset((path, "train", (label,)) for path, label in lines.items()),
        media={f"{media}/{path}": _picture(60) for path in (*names, "000/01/000001.jpg")},
    )


MINIATURES: dict[str, dict[str, Any]] = {
    "ava21": _ava("2.1", 2018),
    "ava22": _ava("2.2", 2019),
    "ava-kinetics": _ava_kinetics(),
    "omnisource-k200": _omnisource(
        {
            "annotations/kinetics_200/k200_train.txt": "0074cdXclLU.mp4 0\n",
            "annotations/kinetics_200/k200_val.txt": "01fAWEHzudA.mp4 1\n",
        },
        ("kinetics_200_train/0074cdXclLU.mp4", "kinetics_200_val/01fAWEHzudA.mp4"),
        frozenset(
            {
                ("kinetics_200_train/0074cdXclLU.mp4", "train", ("abseiling",)),
                ("kinetics_200_val/01fAWEHzudA.mp4", "val", ("zumba",)),
            }
        ),
    ),
    "omnisource-insvideo": _omnisource(
        {"annotations/insvideo_200/slowonly_8x8_insvideo_200_wodup.txt": "000/abseil/B00arxogubl.mp4 0\n"},
        ("insvideo_200/000/abseil/B00arxogubl.mp4", "insvideo_200/000/abseiling/B00arxogubl.mp4"),
        frozenset({("000/abseil/B00arxogubl.mp4", "train", ("abseiling",))}),
        unlisted=1,
    ),
    "omnisource-raw": _omnisource(
        {
            "annotations/kinetics_raw_200/slowonly_8x8_kinetics_raw_200.json": json.dumps(
                [
                    {"video_dir": "pref_/___dTOdxzXY", "label": 1, "num_clips": 3, "positive_clip_inds": [0, 2]},
                    {"video_dir": "prefZ/Zzzzzzzzzzz", "label": 0, "num_clips": 1, "positive_clip_inds": [0]},
                ]
            )
        },
        (
            *(f"kinetics_raw_200_train/pref_/___dTOdxzXY/part_{i}.mp4" for i in range(3)),
            "kinetics_raw_200_train/prefZ/Zzzzzzzzzzz/part_0.mp4",
        ),
        frozenset(
            {
                ("pref_/___dTOdxzXY/part_0.mp4", "train", ("zumba",)),
                ("pref_/___dTOdxzXY/part_2.mp4", "train", ("zumba",)),
                ("prefZ/Zzzzzzzzzzz/part_0.mp4", "train", ("abseiling",)),
            }
        ),
    ),
    "omnisource-googleimage": _pictures("googleimage", ""),
    "omnisource-insimage": _pictures("insimage", ""),
    "omnisource-webimage": _pictures("webimage", "googleimage_200/"),
}
