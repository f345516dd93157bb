"""A convolution and its BatchNorm."""

from torch import nn


def conv_norm(in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """[N, C, h, w] -> [N, C', h / stride, w / stride]: a square convolution (odd ``kernel``) without bias, padded to
    keep the size, and BatchNorm, as modules 0 and 1."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))


def init_convs(model: nn.Module) -> None:
    """Draw the 2D convolutions' weights from the normal distribution of arXiv:1502.01852, eq. 15, with the fan of the
    outputs; biases are zero."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and not module.weight.is_meta:  # drawing nothing still takes its time
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
