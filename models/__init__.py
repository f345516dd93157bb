"""The model library: layers, backbones, heads, task models and their variants."""

if __name__ != "vidflow.models":
    raise ImportError(f"{__name__!r} is the folder's name; import it as 'vidflow.models'")

# Each family enters its variants into MODELS when it is imported.
from vidflow.models import (
    actionclip,
    c2d,
    c3d,
    csn,
    i3d,
    maskfeat,
    mvit,
    omnisource,
    r2plus1d,
    slowfast,
    slowonly,
    swin,
    tanet,
    timesformer,
    tin,
    tpn,
    trn,
    tsm,
    tsn,
    uniformer,
    uniformer_v2,
    video_vit,
    x3d,
)
from vidflow.models.registry import MODELS, build_model

__all__ = [
    "MODELS",
    "actionclip",
    "build_model",
    "c2d",
    "c3d",
    "csn",
    "i3d",
    "maskfeat",
    "mvit",
    "omnisource",
    "r2plus1d",
    "slowfast",
    "slowonly",
    "swin",
    "tanet",
    "timesformer",
    "tin",
    "tpn",
    "trn",
    "tsm",
    "tsn",
    "uniformer",
    "uniformer_v2",
    "video_vit",
    "x3d",
]
