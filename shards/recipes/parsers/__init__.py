"""One parser per way of publishing lists; each gives ``Listed`` videos and leaves finding the files to others."""

from vidflow.shards.recipes.listing import Parser
from vidflow.shards.recipes.parsers.activitynet_json import activitynet_json
from vidflow.shards.recipes.parsers.gt_tubes import gt_tubes
from vidflow.shards.recipes.parsers.hmdb_split import hmdb_split
from vidflow.shards.recipes.parsers.hvu_csv import hvu_csv
from vidflow.shards.recipes.parsers.kinetics_csv import kinetics_csv
from vidflow.shards.recipes.parsers.label_json import label_json
from vidflow.shards.recipes.parsers.moments_csv import moments_csv, multi_moments_csv
from vidflow.shards.recipes.parsers.msrvtt_json import msrvtt_1ka, msrvtt_json
from vidflow.shards.recipes.parsers.msvd_txt import msvd_txt
from vidflow.shards.recipes.parsers.path_label import path_label
from vidflow.shards.recipes.parsers.sth_csv import sth_csv
from vidflow.shards.recipes.parsers.sth_json import sth_json
from vidflow.shards.recipes.parsers.thumos_txt import thumos_txt
from vidflow.shards.recipes.parsers.ucf_split import ucf_split

PARSERS: dict[str, Parser] = {
    "activitynet_json": activitynet_json,
    "gt_tubes": gt_tubes,
    "hmdb_split": hmdb_split,
    "hvu_csv": hvu_csv,
    "kinetics_csv": kinetics_csv,
    "label_json": label_json,
    "moments_csv": moments_csv,
    "msrvtt_1ka": msrvtt_1ka,
    "msrvtt_json": msrvtt_json,
    "msvd_txt": msvd_txt,
    "multi_moments_csv": multi_moments_csv,
    "path_label": path_label,
    "sth_csv": sth_csv,
    "sth_json": sth_json,
    "thumos_txt": thumos_txt,
    "ucf_split": ucf_split,
}
