"""One parser per way of publishing lists; each gives ``Listed`` videos and leaves finding the files to others."""

from vidflow.shards.recipes.listing import Parser
from vidflow.shards.recipes.parsers.activitynet_json import activitynet_json, thumos_json
from vidflow.shards.recipes.parsers.ava_csv import ava_csv
from vidflow.shards.recipes.parsers.ave_txt import ave_txt
from vidflow.shards.recipes.parsers.charades_sta import charades_sta
from vidflow.shards.recipes.parsers.gt_tubes import gt_tubes
from vidflow.shards.recipes.parsers.hmdb_split import hmdb_split
from vidflow.shards.recipes.parsers.hvu_csv import hvu_csv
from vidflow.shards.recipes.parsers.kinetics_csv import kinetics_csv
from vidflow.shards.recipes.parsers.kinetics_skeleton import kinetics_skeleton
from vidflow.shards.recipes.parsers.label_json import label_json
from vidflow.shards.recipes.parsers.moments_csv import moments_csv, multi_moments_csv
from vidflow.shards.recipes.parsers.msrvtt_json import msrvtt_1ka, msrvtt_json, msrvtt_ret
from vidflow.shards.recipes.parsers.msrvtt_questions import msrvtt_mc, msrvtt_qa
from vidflow.shards.recipes.parsers.msvd_txt import msvd_txt
from vidflow.shards.recipes.parsers.omnisource_json import omnisource_json
from vidflow.shards.recipes.parsers.path_label import path_label
from vidflow.shards.recipes.parsers.sth_csv import sth_csv
from vidflow.shards.recipes.parsers.sth_json import sth_json
from vidflow.shards.recipes.parsers.thumos_txt import thumos_txt
from vidflow.shards.recipes.parsers.ucf_split import ucf_split
from vidflow.shards.recipes.parsers.youcook_json import youcook_json

PARSERS: dict[str, Parser] = {
    "activitynet_json": activitynet_json,
    "ave_txt": ave_txt,
    "charades_sta": charades_sta,
    "ava_csv": ava_csv,
    "gt_tubes": gt_tubes,
    "hmdb_split": hmdb_split,
    "hvu_csv": hvu_csv,
    "kinetics_csv": kinetics_csv,
    "kinetics_skeleton": kinetics_skeleton,
    "label_json": label_json,
    "moments_csv": moments_csv,
    "msrvtt_1ka": msrvtt_1ka,
    "msrvtt_json": msrvtt_json,
    "msrvtt_mc": msrvtt_mc,
    "msrvtt_qa": msrvtt_qa,
    "msrvtt_ret": msrvtt_ret,
    "msvd_txt": msvd_txt,
    "multi_moments_csv": multi_moments_csv,
    "omnisource_json": omnisource_json,
    "path_label": path_label,
    "sth_csv": sth_csv,
    "sth_json": sth_json,
    "thumos_json": thumos_json,
    "thumos_txt": thumos_txt,
    "ucf_split": ucf_split,
    "youcook_json": youcook_json,
}
