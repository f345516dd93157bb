"""Reading a file of weights into named tensors, whatever made it."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import safetensors
from torch import Tensor

from vidflow import safe_pickle
from vidflow.errors import WeightsError
from vidflow.models.weights import hugging_face_clip
from vidflow.models.weights.torchscript import is_torchscript, read_torchscript

# Where training programs keep the model's tensors in a checkpoint: mmcv, mmengine and Lightning; timm and VideoMAE;
# PySlowFast; DeepSpeed.
STATE_KEYS = ("state_dict", "model", "model_state", "model_state_dict", "module")
# Put around the whole model by DistributedDataParallel and torch.compile.
WRAPPERS = ("module.", "_orig_mod.")
# Project -> a name that only its files hold; the first that is found counts.
ORIGINS = (
    ("mmaction2", re.compile(r"backbone\..*conv\d?\.conv\.|cls_head\.")),
    ("tsm", re.compile(r"base_model\.|new_fc\.")),
    ("vidflow or mmpretrain", re.compile(r"backbone\.")),
    ("clip", re.compile(r"visual\.")),
    ("torchvision", re.compile(r"layer1\.0\.conv1\.weight")),
)


@dataclass(frozen=True)
class Checkpoint:
    """Named tensors of a file, names as they are there but without ``WRAPPERS``, and Hugging Face's of CLIP as those of
    its authors."""

    path: Path
    format: str
    """ "safetensors", "torch" or "torchscript"."""
    origin: str
    """The project whose names these are, or "unknown"."""
    tensors: dict[str, Tensor]
    metadata: dict[str, str] = field(default_factory=dict)
    """Of safetensors files."""
    config: str = ""
    """The text of the training's config, which MMAction2 keeps beside the weights."""


def read_checkpoint(path: Path) -> Checkpoint:
    """Read safetensors (by content, not by name), a file of ``torch.save`` or the parameters of a TorchScript archive;
    tensors are on the CPU.

    Raises:
        WeightsError: the file is damaged, holds no tensors, or may not be loaded.
    """
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror}") from error
    metadata: dict[str, str] = {}
    config = ""
    if head[8:9] == b"{":
        tensors, metadata = _read_safetensors(path)
        kind = "safetensors"
    elif is_torchscript(path):
        tensors, kind = read_torchscript(path), "torchscript"
    else:
        content = safe_pickle.load_torch(path)
        tensors, kind, config = _find_state(content, path), "torch", _config_text(content)
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        bare = strip_wrappers(name)
        if bare in named:
            raise WeightsError(f"{path}: holds {bare!r} twice, as it is and behind {' or '.join(WRAPPERS)}")
        named[bare] = tensor
    if hugging_face_clip.MARK in named:
        named = hugging_face_clip.to_clip_names(named, str(path))
    return Checkpoint(path, kind, origin_of(named, metadata), named, metadata, config)


def strip_wrappers(name: str) -> str:
    """A parameter's name without what wrapped the model."""
    while prefix := next((w for w in WRAPPERS if name.startswith(w)), ""):
        name = name.removeprefix(prefix)
    return name


def origin_of(tensors: dict[str, Tensor], metadata: dict[str, str]) -> str:
    """The project whose names these are."""
    if "vidflow_model" in metadata:
        return "vidflow"
    return next((origin for origin, mark in ORIGINS if any(mark.match(name) for name in tensors)), "unknown")


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118 -- not a dict
    except safetensors.SafetensorError as error:
        raise WeightsError(f"{path}: not a readable safetensors file ({error}); is it complete?") from error


def _find_state(content: object, path: Path) -> dict[str, Tensor]:
    """The state dict of a checkpoint, checked to hold tensors only."""
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: holds a {type(content).__name__}, not a dictionary of tensors")
    state: object = next((content[key] for key in STATE_KEYS if isinstance(content.get(key), dict)), content)
    assert isinstance(state, dict)
    others = [f"{name!r} ({type(value).__name__})" for name, value in state.items() if not isinstance(value, Tensor)]
    if others or not state:
        where = "is empty" if not state else f"holds {', '.join(others[:5])} among its weights"
        raise WeightsError(f"{path}: {where}; expected tensors, at the top or below one of {', '.join(STATE_KEYS)}")
    return {str(name): value for name, value in state.items()}


def _config_text(content: object) -> str:
    """What MMAction2 1.x (``cfg``) or 0.x (``config``) wrote down of the training's config."""
    meta = content.get("meta") if isinstance(content, dict) else None
    texts = [meta.get(key) for key in ("cfg", "config")] if isinstance(meta, dict) else []
    return next((text for text in texts if isinstance(text, str)), "")
