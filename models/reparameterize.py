"""From the form that trains to the form that is deployed: branches joined into single convolutions."""

from torch import nn

from vidflow.errors import ConfigError
from vidflow.models.backbones.mobileone import MobileOneBlock
from vidflow.models.registry import MODELS

_SUFFIX = "-deploy"


def deploy_name(name: str) -> str:
    """The model whose parameters are those of another one after ``reparameterize``.

    >>> deploy_name("tsm-mobileone-s4")
    'tsm-mobileone-s4-deploy'

    Raises:
        ConfigError: the model has no such form.
    """
    if name.endswith(_SUFFIX) or f"{name}{_SUFFIX}" not in MODELS:
        known = ", ".join(other.removesuffix(_SUFFIX) for other in MODELS if other.endswith(_SUFFIX))
        raise ConfigError(f"model {name!r} has no form for deployment of its own; {known} have one")
    return f"{name}{_SUFFIX}"


def reparameterize(model: nn.Module) -> int:
    """Join the branches of a model's blocks, in place; in evaluation it gives the same scores as before, up to
    rounding, and it must not be trained any more.

    Returns:
        Number of blocks that were joined.
    """
    fused = [module for module in model.modules() if isinstance(module, MobileOneBlock)]
    for module in fused:
        module.fuse()
    return len(fused)
