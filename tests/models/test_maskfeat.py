"""MaskFeat: its targets against a loop over pixels, its masks, its loss, and fine-tuning from its weights."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from vidflow.errors import ConfigError
from vidflow.models import build_model
from vidflow.models.hog import oriented_gradients
from vidflow.models.maskfeat import cube_mask
from vidflow.models.mvit import MViTRecognizer
from vidflow.models.weights import load_weights


@pytest.fixture
def model():
    torch.manual_seed(0)
    return build_model("maskfeat-tiny", num_classes=1)


def reference_histograms(frame):
    """[H, W] -> [9, H/8, W/8], pixel by pixel."""
    H, W = frame.shape
    padded = np.pad(frame, 1, mode="reflect")
    bell = np.exp(-0.5 * ((np.arange(16) - 7.5) / 8) ** 2)
    bell /= bell.sum()
    cells = np.zeros((9, H // 8, W // 8))
    for y in range(H):
        for x in range(W):
            p = padded[y : y + 3, x : x + 3]
            along_x = (p[0, 0] + 2 * p[1, 0] + p[2, 0]) - (p[0, 2] + 2 * p[1, 2] + p[2, 2])
            along_y = (p[0, 0] + 2 * p[0, 1] + p[0, 2]) - (p[2, 0] + 2 * p[2, 1] + p[2, 2])
            number = math.floor(math.atan2(along_x, along_y) / math.pi * 9) % 9
            cells[number, y // 8, x // 8] += math.hypot(along_x, along_y) * bell[y % 16] * bell[x % 16]
    return cells / np.maximum(np.linalg.norm(cells, axis=0), 1e-12)


def test_histograms_equal_a_loop_over_pixels():
    frames = torch.rand(1, 2, 24, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = oriented_gradients(frames)
    assert list(found.shape) == [1, 2, 9, 3, 4]
    for channel in range(2):
        np.testing.assert_allclose(found[0, channel], reference_histograms(frames[0, channel].numpy()), atol=1e-9)


def test_opposite_slopes_have_one_direction_and_flat_frames_none():
    ramp = torch.arange(16.0).expand(1, 1, 16, 16)[..., 1:-1, 1:-1]
    ramp = torch.nn.functional.pad(ramp, (1, 1, 1, 1), mode="replicate")
    torch.testing.assert_close(oriented_gradients(ramp), oriented_gradients(ramp * 3))
    assert not oriented_gradients(torch.ones(1, 1, 16, 16)).any()


def test_frames_smaller_than_a_cell_are_refused():
    with pytest.raises(ValueError, match="frames of 6x16 pixels have no cell of 8x8"):
        oriented_gradients(torch.zeros(1, 1, 6, 16))


def test_masks_hide_about_the_wanted_part_in_cubes():
    torch.manual_seed(0)
    masks = torch.stack([cube_mask((8, 7, 7), 157) for _ in range(50)])
    hidden = masks.flatten(1).sum(1)
    assert hidden.max() <= 157
    assert hidden.float().mean() > 145
    assert (masks.float().mean(0) > 0).all()  # everywhere at times
    # Neighbours in time mostly share their fate, unlike single tokens drawn at random.
    assert (masks[:, 1:] == masks[:, :-1]).float().mean() > 0.8


def test_targets_lie_at_the_place_that_they_belong_to(model):
    clips = torch.zeros(1, 3, 8, 32, 32)
    clips[:, 1, 4, 8:16, 16:24] = torch.rand(8, 8)  # the second frame's third step, row 1, column 2
    targets = model.targets(clips).view(1, 4, 4, 4, 3, 9)
    touched = targets.abs().sum((4, 5)) > 0
    assert touched[0, 2, 1, 2]
    assert not touched[0, [0, 1, 3]].any()
    assert not targets[..., [0, 2], :].any()


def test_targets_of_several_cells_keep_their_channels_together():
    with torch.device("meta"):
        published = build_model("maskfeat-mvit-small", num_classes=1)
    assert published.decoder.out_features == 108
    clips = torch.rand(1, 3, 2, 224, 224)
    cells = oriented_gradients(clips[:, :, 0])  # [1, 3, 9, 28, 28]
    targets = type(published).targets(published, clips).view(14, 14, 3, 9, 2, 2)
    torch.testing.assert_close(targets[3, 5], cells[0, :, :, 6:8, 10:12])


def test_only_hidden_places_count(model):
    clips = torch.randn(1, 3, 8, 32, 32)
    mask = torch.zeros(1, 4, 4, 4, dtype=torch.bool)
    mask[0, 1, 2, 3] = True
    model.eval()
    tokens = model.backbone.tokens(
        clips, mask.repeat_interleave(2, 2).repeat_interleave(2, 3).flatten(1), model.mask_token
    )
    place = 1 * 16 + 2 * 4 + 3
    expected = (model.decoder(tokens[0, 1 + place]) - model.targets(clips)[0, place]).square().mean()
    torch.testing.assert_close(model.masked_loss(clips, mask), expected)


def test_every_parameter_gets_a_gradient(model, make_batch):
    model.train().loss(make_batch(2, frames=8, views=2))["maskfeat_loss"].backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_the_loss_falls(model, make_batch):
    batch = make_batch(2, frames=8)
    optimizer = torch.optim.AdamW(model.param_groups(3e-3, 0.0))
    losses = []
    for _ in range(12):
        torch.manual_seed(4)  # the same mask each time
        loss = model.loss(batch)["maskfeat_loss"]
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[2] < losses[0]
    assert losses[-1] < 0.9 * losses[0]


def test_its_weights_start_a_classifier(tmp_path):
    pretrained = build_model("maskfeat-tiny", num_classes=1, image_size=64)
    torch.save(pretrained.state_dict(), tmp_path / "pretrained.pth")
    tiny = build_model("mvit-tiny", num_classes=4).config
    classifier = MViTRecognizer(
        replace(tiny, backbone=replace(tiny.backbone, downscale=(1, 2)), widen_in_attention=False)
    )
    report = load_weights(classifier, tmp_path / "pretrained.pth", mode="finetune")
    assert set(report.unexpected) == {"mask_token", "decoder.weight", "decoder.bias"}
    assert report.replaced == ("head.fc.weight", "head.fc.bias")
    torch.testing.assert_close(classifier.backbone.cls_token, pretrained.backbone.cls_token)
    # Half the places: every table shrinks around its middle, which is the distance 0.
    long, short = (m.backbone.blocks[2].attn.rel_pos_h for m in (pretrained, classifier))
    assert (len(long), len(short)) == (15, 7)
    torch.testing.assert_close(short[3], long[7])


def test_the_names_of_mmpretrains_files_are_known(model, tmp_path):
    renamed = {
        name.replace("patch_embed.proj.", "patch_embed.projection.")
        .replace("backbone.norm.", "backbone.norm2.")
        .replace("decoder.", "neck.fc."): tensor
        for name, tensor in model.state_dict().items()
    }
    renamed["backbone.mask_token"] = renamed.pop("mask_token")[None, None]
    torch.save({"state_dict": renamed}, tmp_path / "mmpretrain.pth")
    assert not load_weights(model, tmp_path / "mmpretrain.pth", mode="strict").missing


def test_predictions_are_refused_with_what_to_do(model, make_batch):
    with pytest.raises(ValueError, match=r"set train\.val_every = 0"):
        model.predict(make_batch(1, frames=8))


def test_clips_of_another_size_are_refused(model, make_batch):
    with pytest.raises(ValueError, match=r"T, H, W = \[8, 32, 32\], not \[4, 32, 32\]"):
        model.loss(make_batch(1, frames=4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": 1.0}, r"hidden \(1.0\) must lie in"),
        ({"mask_grid": 3}, r"mask_grid \(3\)"),
        ({"image_size": 48}, "48"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        build_model("maskfeat-tiny", num_classes=1, **options)
