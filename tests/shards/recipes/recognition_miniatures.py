"""Video recognition data sets in miniature, arranged as their owners publish them; see `Miniature` in conftest."""

import json
from typing import Any


def _kinetics(size: int) -> dict[str, Any]:
    """All classes are in the lists, as in the published ones; only four videos are there."""
    names = [f"class {i:03d}" for i in range(size - 4)]
    names += ["Zumba", "passing American football (in game)", "massaging person's head", "abseiling"]
    head = "label,youtube_id,time_start,time_end,split\n"
    train = "".join(f"{name},{i:011d},{i},{i + 10},train\n" for i, name in enumerate(names[:-4]))
    train += "Zumba,-_abcdefghi,7,17,train\nabseiling,0wR5jVB-WPk,417,427,train\n"
    val = '"massaging person\'s head",3caPS4FHFF8,36.0,46.0,val\n'
    val += "passing American football (in game),plain_id_01,0,10,val\n"
    order = sorted(names)
    return {
        "lists": {
            "annotations/train.csv": head + train,
            "annotations/val.csv": head + val,
            "annotations/test.csv": "x\n",
        },
        "videos": (
            "train/Zumba/-_abcdefghi_000007_000017.mp4",
            "train/abseiling/0wR5jVB-WPk_000417_000427.mkv",
            "val/massaging_persons_head/3caPS4FHFF8_000036_000046.mp4",
            "val/passing American football (in game)/plain_id_01.mp4",
            "val/passing American football (in game)/not_listed_000001_000011.mp4",
        ),
        "samples": frozenset(
            {
                ("Zumba/-_abcdefghi_000007_000017", "train", ("Zumba",)),
                ("abseiling/0wR5jVB-WPk_000417_000427", "train", ("abseiling",)),
                ("massaging person's head/3caPS4FHFF8_000036_000046", "val", ("massaging person's head",)),
                (
                    "passing American football (in game)/plain_id_01_000000_000010",
                    "val",
                    ("passing American football (in game)",),
                ),
            }
        ),
        "indices": {"Zumba": 0, "abseiling": 1, order[-1]: size - 1},
        "unlisted": 1,
        "missing": size - 4,
    }


def _kinetics710() -> dict[str, Any]:
    lists = {"kinetics710/label_map_k710.txt": "riding a bike\nabseiling\n(odd) name\n"}
    lists |= {f"kinetics710/k{n}_{split}_list_videos.txt": "" for n in (400, 600, 700) for split in ("train", "val")}
    lists |= {
        "kinetics710/k400_train_list_videos.txt": "jf7RDuUTrsQ.mp4 2\n",
        "kinetics710/k600_train_list_videos.txt": "vol_00/-A5JFdMXB_k_000018_000028.mp4 0\n",
        "kinetics710/k700_train_list_videos.txt": "vol_00/-Paa0R0tQ1w_000009_000019.mp4 1\n",
        "kinetics710/k400_val_list_videos.txt": "aaaaaaaaaaa.mp4 1\n",
        "kinetics710/k600_val_list_videos.txt": "vol_01/bbbbbbbbbbb_000000_000010.mp4 1\n",
        "kinetics710/k700_val_list_videos.txt": "vol_01/bbbbbbbbbbb_000000_000010.mp4 0\n",
    }
    return {
        "lists": lists,
        "videos": (
            "kinetics400/videos_train/jf7RDuUTrsQ.mp4",
            "kinetics400/videos_val/aaaaaaaaaaa.mp4",
            "kinetics600/videos/vol_00/-A5JFdMXB_k_000018_000028.mp4",
            "kinetics600/videos/vol_01/bbbbbbbbbbb_000000_000010.mp4",
            "kinetics700/videos/-Paa0R0tQ1w_000009_000019.mp4",
            "kinetics700/videos/vol_01/bbbbbbbbbbb_000000_000010.mp4",
        ),
        "samples": frozenset(
            {
                ("kinetics400/jf7RDuUTrsQ.mp4", "train", ("(odd) name",)),
                ("kinetics600/vol_00/-A5JFdMXB_k_000018_000028.mp4", "train", ("riding a bike",)),
                ("kinetics700/vol_00/-Paa0R0tQ1w_000009_000019.mp4", "train", ("abseiling",)),
                ("kinetics400/aaaaaaaaaaa.mp4", "val", ("abseiling",)),
                ("kinetics600/vol_01/bbbbbbbbbbb_000000_000010.mp4", "val", ("abseiling",)),
                ("kinetics700/vol_01/bbbbbbbbbbb_000000_000010.mp4", "val", ("riding a bike",)),
            }
        ),
        "indices": {"riding a bike": 0, "abseiling": 1, "(odd) name": 2},
    }


def _ssv2() -> dict[str, Any]:
    entry = {"label": "holding potato", "placeholders": ["potato"]}
    train = [{"id": "78687", "template": "Holding [something] next to [something]", **entry}]
    train += [{"id": "1", "template": "Approaching [something] with your camera", **entry}]
    validation = [{"id": "74225", "template": "Holding [something] next to [something]", **entry}]
    labels = {"Approaching something with your camera": "0", "Holding something next to something": "1"}
    return {
        "lists": {
            "labels/labels.json": json.dumps(labels),
            "labels/train.json": json.dumps(train),
            "labels/validation.json": json.dumps(validation),
            "labels/test.json": json.dumps([{"id": "2"}]),
        },
        "videos": tuple(f"20bn-something-something-v2/{i}.webm" for i in (1, 2, 78687, 74225)),
        "samples": frozenset(
            {
                ("78687", "train", ("Holding something next to something",)),
                ("1", "train", ("Approaching something with your camera",)),
                ("74225", "val", ("Holding something next to something",)),
            }
        ),
        "indices": {"Approaching something with your camera": 0, "Holding something next to something": 1},
        "unlisted": 1,
    }


def _moments() -> dict[str, Any]:
    return {
        "lists": {
            "moments_categories.txt": "clapping,0\nadult+female+singing,2\npraying,1\n",
            "trainingSet.csv": "clapping/yt-a_35.mp4,clapping,4,1\nadult+female+singing/yt-a_35.mp4,"
            "adult+female+singing,3,0\n",
            "validationSet.csv": "praying/0P3XG_vf91c_35.mp4,praying,5,0\n",
            "license.txt": "terms\n",
        },
        "videos": (
            "training/clapping/yt-a_35.mp4",
            "training/adult+female+singing/yt-a_35.mp4",
            "validation/praying/0P3XG_vf91c_35.mp4",
        ),
        "samples": frozenset(
            {
                ("clapping/yt-a_35.mp4", "train", ("clapping",)),
                ("adult+female+singing/yt-a_35.mp4", "train", ("adult+female+singing",)),
                ("praying/0P3XG_vf91c_35.mp4", "val", ("praying",)),
            }
        ),
        "indices": {"clapping": 0, "praying": 1, "adult+female+singing": 2},
    }


def _multi_moments() -> dict[str, Any]:
    return {
        "lists": {
            "moments_categories.txt": "crafting,0\nstroking/petting,1\nraining,2\n",
            "trainingSet.csv": "crafting/0-3-6-2_5.mp4,0,2\nraining/b.mp4,2\n",
            "validationSet.csv": "raining/c.mp4,2,1,0\n",
        },
        "videos": ("videos/crafting/0-3-6-2_5.mp4", "videos/raining/b.mp4", "videos/raining/c.mp4"),
        "samples": frozenset(
            {
                ("crafting/0-3-6-2_5.mp4", "train", ("crafting", "raining")),
                ("raining/b.mp4", "train", ("raining",)),
                ("raining/c.mp4", "val", ("raining", "stroking/petting", "crafting")),
            }
        ),
        "indices": {"crafting": 0, "stroking/petting": 1, "raining": 2},
    }


def _ucf101() -> dict[str, Any]:
    """With the owners' CRLF line ends, and the class whose folder and files are spelt differently."""
    hammer, stand = "Hammering/v_Hammering_g{}_c01.avi", "HandstandPushups/v_HandStandPushups_g{}_c02.avi"
    return {
        "lists": {
            "ucfTrainTestlist/classInd.txt": "1 Hammering\r\n2 HammerThrow\r\n3 HandstandPushups\r\n",
            "ucfTrainTestlist/trainlist01.txt": f"{hammer.format('08')} 1\r\n{stand.format('08')} 3\r\n",
            "ucfTrainTestlist/testlist01.txt": f"{hammer.format('01')}\r\n{stand.format('01')}\r\n",
            "ucfTrainTestlist/trainlist02.txt": f"{hammer.format('01')} 1\r\n",
            "ucfTrainTestlist/testlist02.txt": f"{hammer.format('08')}\r\n",
        },
        "videos": tuple(f"UCF-101/{name.format(group)}" for name in (hammer, stand) for group in ("08", "01")),
        "samples": frozenset(
            (name.format(group), split, (label,))
            for name, label in ((hammer, "Hammering"), (stand, "HandstandPushups"))
            for group, split in (("08", "train"), ("01", "test"))
        ),
        "indices": {"Hammering": 0, "HammerThrow": 1, "HandstandPushups": 2},
    }


def _hmdb(folder: str, media: str, classes: int) -> dict[str, Any]:
    """One split file per class and fold, as published; the clips of one class are there."""
    names = ["brush_hair", "wave", *(f"class_{i:02d}" for i in range(classes - 2))]
    lists = {
        f"{folder}/{name}_test_split{fold}.txt": f"{name}_a!_0.avi {1 if fold == 1 else 2} \n"
        f"{name}_b_0.avi {2 if fold == 1 else 1} \n{name}_c_0.avi 0 \n"
        for name in names
        for fold in (1, 2, 3)
    }
    return {
        "lists": lists,
        "videos": tuple(f"{media}/wave/wave_{clip}_0.avi" for clip in ("a!", "b", "c")),
        "samples": frozenset({("wave/wave_a!_0.avi", "train", ("wave",)), ("wave/wave_b_0.avi", "test", ("wave",))}),
        "indices": {"brush_hair": 0, "wave": classes - 1},
        "unlisted": 1,
        "missing": 2 * (classes - 1),
    }


def _diving48() -> dict[str, Any]:
    span = {"start_frame": 0, "end_frame": 5}
    train = [
        {"vid_name": "_8Vy3dlHg2w_00000", "label": 1, **span},
        {"vid_name": "-mmq0PT-u8k_00155", "label": 0, **span},
    ]
    return {
        "lists": {
            "Diving48_vocab.json": json.dumps(
                [["Back", "15som", "05Twis", "FREE"], ["Inward", "Dive", "NoTwis", "PIKE"]]
            ),
            "Diving48_V2_train.json": json.dumps(train),
            "Diving48_V2_test.json": json.dumps([{"vid_name": "2x00lRzlTVQ_00001", "label": 0, **span}]),
        },
        "videos": ("rgb/_8Vy3dlHg2w_00000.mp4", "rgb/-mmq0PT-u8k_00155.mp4", "rgb/2x00lRzlTVQ_00001.mp4"),
        "samples": frozenset(
            {
                ("_8Vy3dlHg2w_00000", "train", ("Inward+Dive+NoTwis+PIKE",)),
                ("-mmq0PT-u8k_00155", "train", ("Back+15som+05Twis+FREE",)),
                ("2x00lRzlTVQ_00001", "test", ("Back+15som+05Twis+FREE",)),
            }
        ),
        "indices": {"Back+15som+05Twis+FREE": 0, "Inward+Dive+NoTwis+PIKE": 1},
    }


def _gym99() -> dict[str, Any]:
    vault = "(VT) round-off, flic-flac on, stretched salto backward with 2 turn off"
    return {
        "lists": {
            "annotations/gym99_categories.txt": f"Clabel:   0; set:   1; Glabel:   1; {vault}\n"
            "Clabel:   1; set:  21; Glabel:  72; (FX) switch leap with 0.5 turn\n",
            "annotations/gym99_train_element_v1.1.txt": "0LtLS9wROrk_E_002407_002435_A_0003_0005 1\n"
            "0LtLS9wROrk_E_002407_002435_A_0007_0009 0\n",
            "annotations/gym99_val_element.txt": "zfqS-wCJSsw_E_006244_006252_A_0000_0007 0\n",
        },
        "videos": (
            "subactions/0LtLS9wROrk_E_002407_002435_A_0003_0005.mp4",
            "subactions/0LtLS9wROrk_E_002407_002435_A_0007_0009.mp4",
            "subactions/zfqS-wCJSsw_E_006244_006252_A_0000_0007.mp4",
        ),
        "samples": frozenset(
            {
                ("0LtLS9wROrk_E_002407_002435_A_0003_0005", "train", ("(FX) switch leap with 0.5 turn",)),
                ("0LtLS9wROrk_E_002407_002435_A_0007_0009", "train", (vault,)),
                ("zfqS-wCJSsw_E_006244_006252_A_0000_0007", "val", (vault,)),
            }
        ),
        "indices": {vault: 0, "(FX) switch leap with 0.5 turn": 1},
    }


def _hvu() -> dict[str, Any]:
    return {
        "lists": {
            "annotations/HVU_Tags_Categories_V1.0.csv": "Tag,Category\nsnow,object\nabseiling,action\ntrain,object\n",
            "annotations/HVU_Train_V1.0.csv": "Tags,youtube_id,time_start,time_end\n"
            "train|abseiling,OLpWTpTC4P8,57.0,67.0\nsnow,xsPKW4tZZBc,233.0,243.0\n",
            "annotations/HVU_Val_V1.0.csv": "Tags,youtube_id,time_start,time_end\nsnow|train,aaaaaaaaaaa,0.5,10.5\n",
        },
        "videos": (
            "videos_train/OLpWTpTC4P8_000570_000670.mp4",
            "videos_train/xsPKW4tZZBc_000233_000243.mp4",
            "videos_val/aaaaaaaaaaa.mp4",
        ),
        "samples": frozenset(
            {
                ("OLpWTpTC4P8_000570_000670", "train", ("object/train", "action/abseiling")),
                ("xsPKW4tZZBc_002330_002430", "train", ("object/snow",)),
                ("aaaaaaaaaaa_000005_000105", "val", ("object/snow", "object/train")),
            }
        ),
        "indices": {"action/abseiling": 0, "object/snow": 1, "object/train": 2},
    }


MINIATURES: dict[str, dict[str, Any]] = {
    "kinetics400": _kinetics(400),
    "kinetics600": _kinetics(600),
    "kinetics700": _kinetics(700),
    "kinetics710": _kinetics710(),
    "ssv2": _ssv2(),
    "moments-in-time": _moments(),
    "multi-moments": _multi_moments(),
    "ucf101": _ucf101(),
    "hmdb51": _hmdb("testTrainMulti_7030_splits", "hmdb51_org", 51),
    "jhmdb": _hmdb("splits", "ReCompress_Videos", 21),
    "diving48": _diving48(),
    "gym99": _gym99(),
    "hvu": _hvu(),
}
