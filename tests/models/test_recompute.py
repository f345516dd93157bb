"""Activation checkpointing in every family: the same gradients and statistics from less that is kept."""

import pytest
import torch

from tests.support.small_models import CLIP_MODELS
from vidflow.errors import ConfigError
from vidflow.models import build_model
from vidflow.models.backbones.mobilenet_v2 import MobileNetV2Config

# Name of a model -> frames and size of small clips. The left out have no such option, or tests of their own.
_LEFT_OUT = ("actionclip-tiny", "posec3d-tiny", "c3d-tiny")
CASES = {name: case for name, case in CLIP_MODELS.items() if name not in _LEFT_OUT and " " not in name}
CASES |= dict.fromkeys(("tin-tiny", "trn-tiny", "tanet-tiny"), (4, 32))


def trained(name, batch, *, recompute):
    """Gradients and statistics after one backward pass, and the bytes that autograd kept for it."""
    torch.manual_seed(0)
    model = build_model(name, num_classes=3, dropout=0.0, activation_checkpointing=recompute).train()
    weights = {parameter.data_ptr() for parameter in model.parameters()}
    kept = {}

    def note(tensor):
        if tensor.data_ptr() not in weights:
            kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    torch.manual_seed(1)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = sum(model.loss(batch).values())
    loss.backward()
    return {name: p.grad for name, p in model.named_parameters()}, dict(model.named_buffers()), sum(kept.values())


@pytest.mark.parametrize("name", CASES)
def test_gradients_and_statistics_stay_and_less_is_kept(name, make_batch):
    frames, size = CASES[name]
    batch = make_batch(2, torch.tensor([0, 2]), frames=frames, size=size)
    (grads, buffers, kept), (again, counted, less) = (trained(name, batch, recompute=on) for on in (False, True))
    assert less < kept
    for key, grad in grads.items():
        assert (grad is None) == (again[key] is None), key
        if grad is not None:
            torch.testing.assert_close(again[key], grad, rtol=1e-4, atol=1e-6, msg=key)
    for key, buffer in buffers.items():
        torch.testing.assert_close(counted[key], buffer, rtol=1e-5, atol=1e-6, msg=key)


def test_frozen_norms_stay_frozen(make_batch):
    model = build_model("slowonly-tiny", num_classes=3, norm_eval=True, activation_checkpointing=True).train()
    before = {key: buffer.clone() for key, buffer in model.named_buffers()}
    model.loss(make_batch(2, frames=4, size=48))["cls_loss"].backward()
    assert all(torch.equal(buffer, before[key]) for key, buffer in model.named_buffers())


def test_networks_without_such_blocks_refuse():
    with pytest.raises(ConfigError, match="activation_checkpointing is for ResNets, not MobileNetV2Config"):
        build_model("tsm-mobilenetv2", num_classes=3, activation_checkpointing=True)
    assert isinstance(build_model("tsm-mobilenetv2", num_classes=3).config.backbone, MobileNetV2Config)
