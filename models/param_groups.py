"""Learning rate and weight decay per kind of parameter.

Source: the optimiser policy of the TSN and TSM authors' code (arXiv:1608.00859, arXiv:1811.08383): biases learn at
twice the rate without decay, BatchNorm without decay, and with ``tsm_fc_lr5`` the head's linear weights at 5 and its
linear biases at 10 times the rate. The rules of transformers are in ``vidflow.models.transformer_param_rules``.
"""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from vidflow.errors import ConfigError
from vidflow.models import transformer_param_rules as transformers

Rule = str
"""One of ``RULES``, or ``layer_decay_`` and a rate, such as ``layer_decay_0.75``."""
RULES = ("default", "tsm", "tsm_fc_lr5", *transformers.RULES)

# Name of the group -> (factor of the learning rate, factor of the weight decay), in the order of the groups.
TSM_GROUPS: dict[str, tuple[float, float]] = {
    "first_conv_weight": (1, 1),
    "first_conv_bias": (2, 0),
    "weight": (1, 1),
    "bias": (2, 0),
    "norm": (1, 0),
    "linear_weight_lr5": (5, 1),
    "linear_bias_lr10": (10, 0),
}


def tsm_kinds(model: nn.Module, *, fc_lr5: bool) -> dict[str, str]:
    """Parameter name -> group of ``TSM_GROUPS``, for all parameters, in the model's order.

    Args:
        fc_lr5: the head's linear layers (``model.head_prefixes``) go to groups of their own.

    Raises:
        ConfigError: a layer that the rule does not know holds parameters.
    """
    kinds: dict[str, str] = {}
    heads = tuple(getattr(model, "head_prefixes", ("head.",)))
    convs = 0
    for prefix, module in model.named_modules():
        own = [name for name, _ in module.named_parameters(recurse=False)]
        if not own:
            continue
        if isinstance(module, _BatchNorm):
            groups = dict.fromkeys(own, "norm")
        elif isinstance(module, _ConvNd):
            place = "first_conv_" if convs == 0 else ""
            convs += 1
            groups = {name: place + name for name in own}
        elif isinstance(module, nn.Linear):
            faster = fc_lr5 and f"{prefix}.".startswith(heads)
            groups = (
                {"weight": "linear_weight_lr5", "bias": "linear_bias_lr10"} if faster else {name: name for name in own}
            )
        else:
            raise ConfigError(
                f"param rule 'tsm' knows convolutions, linear layers and BatchNorm, "
                f"not {type(module).__name__} ({prefix}); use rule = 'default'"
            )
        kinds |= {f"{prefix}.{name}" if prefix else name: groups[name] for name in own}
    return kinds


def param_groups(model: nn.Module, lr: float, weight_decay: float, rule: Rule = "default") -> list[dict[str, object]]:
    """Groups for a torch optimizer: ``name``, ``params``, ``lr`` and ``weight_decay`` each.

    Parameters that need no gradient are left out, and so are groups without parameters.

    Args:
        lr: base learning rate, of factor 1.
        weight_decay: base decay, of factor 1.
        rule: "default" puts everything into one group; "tsm" and "tsm_fc_lr5" are ``TSM_GROUPS``; the others are
            functions of ``vidflow.models.transformer_param_rules``.

    Raises:
        ConfigError: no such rule, or one that does not know a layer of the model.
    """
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    factors: dict[str, tuple[float, float]]
    if rule == "default":
        kinds, factors = dict.fromkeys(named, "all"), {"all": (1.0, 1.0)}
    elif rule in ("tsm", "tsm_fc_lr5"):
        kinds, factors = tsm_kinds(model, fc_lr5=rule == "tsm_fc_lr5"), TSM_GROUPS
    elif rule in transformers.RULES:
        kinds, factors = transformers.RULES[rule](model)
    elif decay := transformers.LAYER_DECAY.fullmatch(rule):
        kinds, factors = transformers.layer_decay(model, float(decay[1]))
    else:
        raise ConfigError(f"no param rule {rule!r}; there are {', '.join(RULES)}, layer_decay_0.75 (any rate)")
    groups: list[dict[str, object]] = []
    for group, (lr_factor, decay_factor) in factors.items():
        params = [parameter for name, parameter in named.items() if kinds.get(name) == group]
        if params:
            groups.append(
                {"name": group, "params": params, "lr": lr * lr_factor, "weight_decay": weight_decay * decay_factor}
            )
    return groups
