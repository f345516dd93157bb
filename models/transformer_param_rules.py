"""Learning rate and weight decay per kind of parameter of transformers.

Sources: layer-wise decay of BEiT (arXiv:2106.08254, section 3.2) in the form of MMAction2 1.2.0
(LearningRateDecayOptimizerConstructor); rates and decay of Video Swin's authors
(SwinTransformer/Video-Swin-Transformer, configs); no decay of norms and biases as in facebookresearch/SlowFast.
"""

import re

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from vidflow.errors import ConfigError

Kinds = dict[str, str]
"""Parameter name -> group."""
Factors = dict[str, tuple[float, float]]
"""Group -> (factor of the learning rate, factor of the weight decay)."""

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm)
LAYER_DECAY = re.compile(r"layer_decay_(0\.\d+)")


def norms_and_biases(model: nn.Module) -> set[str]:
    """Names of all parameters of norms, and of all biases."""
    of_norms = {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in model.named_modules()
        if isinstance(module, NORMS)
        for name, _ in module.named_parameters(recurse=False)
    }
    return of_norms | {name for name, _ in model.named_parameters() if name.endswith("bias")}


def no_norm_bias_decay(model: nn.Module) -> tuple[Kinds, Factors]:
    """Norms and biases do not decay; tables of positions do."""
    free = norms_and_biases(model)
    kinds = {name: "no_decay" if name in free else "decay" for name, _ in model.named_parameters()}
    return kinds, {"decay": (1, 1), "no_decay": (1, 0)}


def no_embedding_decay(model: nn.Module) -> tuple[Kinds, Factors]:
    """Tables of positions and times, and the class token, do not decay (TimeSformer)."""
    tables = ("cls_token", "pos_embed", "time_embed")
    kinds = {name: "embedding" if name.endswith(tables) else "all" for name, _ in model.named_parameters()}
    return kinds, {"all": (1, 1), "embedding": (1, 0)}


def swin(model: nn.Module) -> tuple[Kinds, Factors]:
    """The backbone learns at a tenth of the rate; norms and tables of positions do not decay."""
    kinds = {}
    for name, _ in model.named_parameters():
        free = "norm" in name or "relative_position_bias_table" in name or "absolute_pos_embed" in name
        kinds[name] = ("backbone" if name.startswith("backbone.") else "head") + ("_no_decay" if free else "")
    return kinds, {"backbone": (0.1, 1), "backbone_no_decay": (0.1, 0), "head": (1, 1), "head_no_decay": (1, 0)}


def adapter_lr10(model: nn.Module) -> tuple[Kinds, Factors]:
    """The adapter learns at ten times the rate of the rest (ActionCLIP in MMAction2, projects/actionclip/configs).

    Raises:
        ConfigError: the model has no ``adapter``.
    """
    kinds = {name: "adapter" if name.startswith("adapter.") else "rest" for name, _ in model.named_parameters()}
    if "adapter" not in kinds.values():
        raise ConfigError("param rule 'adapter_lr10' is for models with a part 'adapter', such as ActionCLIP")
    return kinds, {"rest": (1, 1), "adapter": (10, 1)}


def layer_decay(model: nn.Module, rate: float) -> tuple[Kinds, Factors]:
    """Block i of N (from 1) learns at rate ** (N + 1 - i), embeddings as i = 0, the rest at the full rate.

    Vectors and biases do not decay.

    Raises:
        ConfigError: the backbone has no ``blocks``.
    """
    block = re.compile(r"backbone\.blocks\.(\d+)\.")
    numbers = {name: int(found[1]) + 1 for name, _ in model.named_parameters() if (found := block.match(name))}
    if not numbers:
        raise ConfigError("param rule 'layer_decay_...' is for models with a list 'backbone.blocks'")
    depth = max(numbers.values())
    kinds: Kinds = {}
    for name, parameter in model.named_parameters():
        embedding = name.startswith("backbone.patch_embed.") or name.endswith(("_token", "pos_embed", "time_embed"))
        layer = numbers.get(name, 0 if embedding else depth + 1)
        free = parameter.ndim == 1 or name.endswith("bias")
        kinds[name] = f"layer_{layer}_{'no_decay' if free else 'decay'}"
    factors: Factors = {}
    for layer in range(depth + 2):
        factors[f"layer_{layer}_decay"] = (rate ** (depth + 1 - layer), 1)
        factors[f"layer_{layer}_no_decay"] = (rate ** (depth + 1 - layer), 0)
    return kinds, factors


RULES = {
    "no_norm_bias_decay": no_norm_bias_decay,
    "no_embedding_decay": no_embedding_decay,
    "swin": swin,
    "adapter_lr10": adapter_lr10,
}
