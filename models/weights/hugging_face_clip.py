"""CLIP's weights in Hugging Face's names, turned into those of its authors.

Source of the names: huggingface/transformers, models/clip/modeling_clip.py. More than names differs: queries, keys and
values have layers of their own there, and the two projections are stored the other way round.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from vidflow.errors import WeightsError

MARK = "vision_model.embeddings.class_embedding"
"""A name that every such file has."""

_TOWERS = {"vision_model": "visual.", "text_model": ""}
_NAMES = (
    (r"embeddings\.class_embedding", "class_embedding"),
    (r"embeddings\.patch_embedding\.weight", "conv1.weight"),
    (r"embeddings\.position_embedding\.weight", "positional_embedding"),
    (r"embeddings\.token_embedding\.weight", "token_embedding.weight"),
    (r"pre_layrnorm\.(\w+)", r"ln_pre.\1"),
    (r"post_layernorm\.(\w+)", r"ln_post.\1"),
    (r"final_layer_norm\.(\w+)", r"ln_final.\1"),
    (r"encoder\.layers\.(\d+)\.self_attn\.out_proj\.(\w+)", r"transformer.resblocks.\1.attn.out_proj.\2"),
    (r"encoder\.layers\.(\d+)\.layer_norm(\d)\.(\w+)", r"transformer.resblocks.\1.ln_\2.\3"),
    (r"encoder\.layers\.(\d+)\.mlp\.fc1\.(\w+)", r"transformer.resblocks.\1.mlp.c_fc.\2"),
    (r"encoder\.layers\.(\d+)\.mlp\.fc2\.(\w+)", r"transformer.resblocks.\1.mlp.c_proj.\2"),
)
_PART = re.compile(r"(vision_model|text_model)\.encoder\.layers\.(\d+)\.self_attn\.([qkv])_proj\.(weight|bias)")
_PROJECTIONS = {"visual_projection.weight": "visual.proj", "text_projection.weight": "text_projection"}


def to_clip_names(tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """The same weights as CLIP's authors name them; names that are not Hugging Face's stay.

    Args:
        where: the file, for messages.

    Raises:
        WeightsError: a layer has not all of its queries, keys and values.
    """
    named: dict[str, Tensor] = {}
    packed: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.endswith("embeddings.position_ids"):
            continue  # 0, 1, 2, ...
        if name in _PROJECTIONS:
            named[_PROJECTIONS[name]] = tensor.T.contiguous()
        elif part := _PART.fullmatch(name):
            tower, layer, letter, kind = part.groups()
            target = f"{_TOWERS[tower]}transformer.resblocks.{layer}.attn.in_proj_{kind}"
            packed.setdefault(target, {})[letter] = tensor
        else:
            named[_renamed(name)] = tensor
    for target, parts in packed.items():
        if parts.keys() != set("qkv"):
            raise WeightsError(
                f"{target} needs q_proj, k_proj and v_proj; the file has {', '.join(sorted(parts))} only"
            )
        named[target] = torch.cat([parts[letter] for letter in "qkv"])
    return named


def _renamed(name: str) -> str:
    tower, _, rest = name.partition(".")
    if tower in _TOWERS:
        for pattern, replacement in _NAMES:
            if found := re.fullmatch(pattern, rest):
                return _TOWERS[tower] + found.expand(replacement)
    return name
