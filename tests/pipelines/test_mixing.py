"""Mixup and cutmix: values of MMAction2 1.2.0, what is drawn, and batches with padding."""

import json
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from vidflow.batch import Batch
from vidflow.config.augmentation import BatchMixing
from vidflow.pipelines.mixing import BatchMixer, Mixture, cut_box, draw_mixture, mix

PARITY = Path(os.environ.get("VIDFLOW_PARITY", Path(__file__).parents[1] / "data/parity"))


def blending_cases() -> list[dict]:
    """From the file of the blending cases alone, or from one that holds all losses."""
    path = PARITY / "ops/blending.json"
    cases = json.loads((path if path.exists() else PARITY / "ops/losses.json").read_text())
    return [case for case in cases if case["what"].startswith(("mixup lambda", "cutmix lambda"))]


def batch(num_samples: int = 6, labels: torch.Tensor | None = None, *, padded: int = 0) -> Batch:
    """Clips whose pixels all hold their row's number."""
    rows = torch.arange(num_samples)
    clips = rows.float().reshape(-1, 1, 1, 1, 1, 1).expand(-1, 2, 3, 2, 8, 10).clone()
    return Batch(
        ids=[str(row) for row in rows.tolist()],
        indices=rows,
        inputs={"clips": clips},
        targets={"labels": rows % 4 if labels is None else labels},
        padding=rows >= num_samples - padded,
    )


@pytest.mark.parametrize("case", blending_cases(), ids=lambda case: case["what"])
def test_mixed_clips_and_labels_equal_the_reference(case):
    values, outputs = case["inputs"], case["outputs"]
    rule = values["imgs"]
    clips = np.random.default_rng(zlib.crc32(rule["u"].encode())).random(rule["shape"], dtype=np.float32) * 2 - 1
    labels = torch.nn.functional.one_hot(torch.tensor(values["labels"]), values["num_classes"]).float()
    kind = case["what"].split()[0]
    x, y = values.get("centre_xy", (0, 0))
    centre = ((x + 0.5) / rule["shape"][-1], (y + 0.5) / rule["shape"][-2])
    mixture = Mixture(kind, values["lam"], np.array(values["permutation"]), centre)
    mixed, soft = mix(torch.from_numpy(clips), labels, mixture)
    if kind == "cutmix":
        box = cut_box(*rule["shape"][-2:], values["lam"], centre)
        assert list(box) == outputs["box_x1y1x2y2"]
    np.testing.assert_allclose(soft, outputs["labels"], atol=1e-6)
    flat = mixed.numpy().reshape(-1)
    np.testing.assert_allclose(flat[:: outputs["imgs"]["stride"]], outputs["imgs"]["values"], atol=1e-6)
    np.testing.assert_allclose((flat.astype(np.float64) ** 2).sum(), outputs["imgs"]["sumsq"], rtol=1e-5)


def test_the_same_seed_epoch_position_and_rank_mix_alike_and_others_do_not():
    mixing = BatchMixing(mixup=0.8, cutmix=1.0)

    def mixed(seed=3, epoch=1, position=5, rank=0):
        return BatchMixer(mixing, num_classes=4, seed=seed, rank=rank)(batch(), epoch=epoch, position=position).labels

    assert torch.equal(mixed(), mixed())
    for other in ({"seed": 4}, {"epoch": 2}, {"position": 6}, {"rank": 1}):
        assert not torch.equal(mixed(), mixed(**other)), other


def test_soft_labels_sum_to_one_and_tell_what_the_pixels_show():
    mixer = BatchMixer(BatchMixing(mixup=0.8, cutmix=1.0), num_classes=6, seed=0)
    kinds = set()
    for position in range(30):
        whole = batch(6, torch.arange(6))
        out = mixer(whole, epoch=0, position=position)
        assert out.clips.shape == whole.clips.shape
        assert torch.equal(whole.clips, batch(6).clips)  # the argument stays as it is
        # Pixels hold row numbers, labels are the rows: the mean pixel is the labels' mean row, mixed either way.
        means = out.clips.mean(dim=(1, 2, 3, 4, 5))
        torch.testing.assert_close(means, out.labels @ torch.arange(6.0), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(out.labels.sum(1), torch.ones(6))
        kinds.add(bool((out.clips == out.clips.round()).all()))
    assert kinds == {True, False}


def test_padding_rows_are_mixed_with_nothing():
    mixer = BatchMixer(BatchMixing(mixup=1.0), num_classes=4, seed=0)
    for position in range(10):
        out = mixer(batch(padded=2), epoch=0, position=position)
        assert torch.equal(out.clips[4:], batch().clips[4:])
        assert out.clips[:4].max() <= 3 + 1e-5


def test_multi_label_targets_are_mixed_as_they_are():
    labels = torch.tensor([[1.0, 1, 0], [0, 0, 1]])
    mixed = mix(batch(2).clips, labels, Mixture("mixup", 0.25, np.array([1, 0])))[1]
    assert mixed.tolist() == [[0.25, 0.25, 0.75], [0.75, 0.75, 0.25]]


def test_probability_and_share_of_cutmix_are_kept():
    rng = np.random.default_rng(0)
    mixing = BatchMixing(mixup=0.8, cutmix=1.0, probability=0.6, cutmix_share=0.25)
    drawn = [draw_mixture(mixing, np.zeros(4, bool), rng) for _ in range(3000)]
    kinds = [mixture.kind for mixture in drawn if mixture is not None]
    assert abs(len(kinds) - 1800) < 5 * np.sqrt(3000 * 0.24)
    assert abs(kinds.count("cutmix") / len(kinds) - 0.25) < 0.05
    alone = [draw_mixture(BatchMixing(cutmix=1.0, cutmix_share=0), np.zeros(4, bool), rng) for _ in range(10)]
    assert {mixture.kind for mixture in alone} == {"cutmix"}


def test_a_batch_that_is_not_mixed_still_has_soft_labels():
    out = BatchMixer(BatchMixing(mixup=1.0, probability=0), num_classes=4, seed=0)(batch(), epoch=0, position=0)
    assert torch.equal(out.clips, batch().clips)
    assert out.labels.tolist() == torch.nn.functional.one_hot(torch.arange(6) % 4, 4).tolist()


def test_one_row_is_mixed_with_itself():
    out = BatchMixer(BatchMixing(cutmix=1.0), num_classes=4, seed=0)(batch(1), epoch=0, position=0)
    assert torch.equal(out.clips, batch(1).clips)
    assert out.labels.tolist() == [[1, 0, 0, 0]]


def test_a_label_outside_the_classes_is_refused():
    with pytest.raises(ValueError, match="label 3 is not one of 3 classes"):
        BatchMixer(BatchMixing(mixup=1.0), num_classes=3, seed=0)(batch(), epoch=0, position=0)


def test_mixup_mixes_any_input_of_floats_and_leaves_others():
    rows = torch.arange(4)
    skeletons = rows.float().reshape(-1, 1, 1, 1, 1, 1).expand(-1, 1, 2, 5, 3, 2).clone()
    mask = torch.ones(4, 1, 5, dtype=torch.bool)
    whole = Batch(
        ids=["a", "b", "c", "d"],
        indices=rows,
        inputs={"skeletons": skeletons, "mask": mask},
        targets={"labels": rows},
        padding=torch.zeros(4, dtype=torch.bool),
    )
    mixed = BatchMixer(BatchMixing(mixup=1.0), num_classes=4, seed=3)(whole, epoch=0, position=0)
    # Each row's value is the mean of the rows' numbers, weighted as its label is.
    expected = mixed.labels @ rows.float()
    assert torch.allclose(mixed.inputs["skeletons"][:, 0, 0, 0, 0, 0], expected)
    assert not torch.equal(expected, rows.float())
    assert torch.equal(mixed.inputs["mask"], mask)
