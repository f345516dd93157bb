"""Weights of images for networks of clips.

Source: "Quo Vadis, Action Recognition?" (arXiv:1705.07750), section 2.2: a kernel is repeated over the frames that it
spans and divided by their number, so that a still clip gives what the image gave.
"""

from collections.abc import Mapping

from torch import Tensor


def inflate(tensors: Mapping[str, Tensor], shapes: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, with 2D kernels [C', C, h, w] repeated where the model has 3D ones [C', C, T, h, w].

    A file that holds a whole recognizer, head included, stays as it is: its 2D kernels are another model's.

    Args:
        tensors: of a file, by the model's names.
        shapes: the model's own, for their shapes.
    """
    if any(name.startswith("head.") for name in tensors):
        return dict(tensors)
    inflated = {}
    for name, tensor in tensors.items():
        own = shapes.get(name)
        fits = (
            own is not None and own.ndim == 5 and tensor.ndim == 4 and (*own.shape[:2], *own.shape[3:]) == tensor.shape
        )
        if own is not None and fits:
            frames = own.shape[2]
            tensor = tensor[:, :, None].repeat(1, 1, frames, 1, 1) / frames  # [C', C, h, w] -> [C', C, T, h, w]
        inflated[name] = tensor
    return inflated
