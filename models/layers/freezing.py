"""Parts of a backbone that training leaves as they are: frozen stages, frozen BatchNorm, partial BatchNorm."""

from typing import ClassVar, Self

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class Freezable(nn.Module):
    """A backbone of a stem and stages.

    Subclasses implement ``parts`` and call ``freeze`` at the end of their constructor.

    Args:
        frozen_stages: first layers whose weights and BatchNorm statistics stay as they are: -1 none, 0 the stem, k also
            stages 1..k.
        norm_eval: every BatchNorm uses and keeps its stored statistics in training; its weights still learn.
        norm_frozen: like ``norm_eval``, and the weights of every BatchNorm are fixed.
        partial_bn: every BatchNorm but the first uses and keeps its stored statistics, and its weights are fixed
            (arXiv:1608.00859, section 3.3).
    """

    recomputes: ClassVar[bool] = False
    """Whether the backbone's blocks heed ``recompute``."""

    def __init__(
        self,
        *,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        norm_frozen: bool = False,
        partial_bn: bool = False,
    ) -> None:
        super().__init__()
        self.frozen_stages, self.norm_eval = frozen_stages, norm_eval or norm_frozen
        self.norm_frozen, self.partial_bn = norm_frozen, partial_bn
        self.recompute = False

    def parts(self) -> list[list[nn.Module]]:
        """The modules of the stem, then those of each stage."""
        raise NotImplementedError

    def freeze(self) -> None:
        """Take what is fixed away from training.

        Raises:
            ValueError: ``frozen_stages`` names more stages than there are.
        """
        stages = len(self.parts()) - 1
        if not -1 <= self.frozen_stages <= stages:
            raise ValueError(f"frozen_stages ({self.frozen_stages}) must lie in [-1, {stages}]")
        for module in self._fixed():
            module.requires_grad_(False)
        if self.norm_frozen or self.partial_bn:
            for norm in self._norms()[0 if self.norm_frozen else 1 :]:
                norm.requires_grad_(False)

    def recompute_blocks(self) -> None:
        """Compute the activations of each block of the stages again in the backward pass.

        Raises:
            ValueError: the backbone cannot.
        """
        if not self.recomputes:
            raise ValueError(f"activation_checkpointing is not for {type(self).__name__}")
        for module in self.modules():
            if isinstance(module, Freezable):
                module.recompute = True

    def _fixed(self) -> list[nn.Module]:
        return [module for part in self.parts()[: self.frozen_stages + 1] for module in part]

    def _norms(self) -> list[_BatchNorm]:
        return [module for module in self.modules() if isinstance(module, _BatchNorm)]

    def train(self, mode: bool = True) -> Self:
        """Training mode, except for what is fixed."""
        super().train(mode)
        if mode:
            for module in self._fixed():
                module.eval()
            for norm in self._norms() if self.norm_eval else self._norms()[1:] if self.partial_bn else []:
                norm.eval()
        return self
