"""OmniSource: one run on clips and images, whose classes stand one after the other."""

from pathlib import Path

import pytest

from vidflow.engine.runs import RunFolder
from vidflow.engine.train import train
from vidflow.errors import DataError
from vidflow.models.omnisource import OmniSource


@pytest.fixture
def both(make_packed, packed, make_config, tmp_path):
    """A config of clips in three classes and pictures (one frame of a clip) in two others."""
    pictures = make_packed(tmp_path / "pictures", {"train": [(i % 2,) for i in range(8)]}, classes=("day", "night"))
    still = '{sampling = {kind = "segments", num_segments = 1}, short_side = "none", size = 32, crop = {kind = "full"}}'
    sources = f'[{{root = "{packed}", batch_size = 6}}, {{root = "{pictures}", batch_size = 4, pipeline = {still}}}]'

    def make(*overrides):
        return make_config(
            "data.combine=turns",
            f"data.sources={sources}",
            "optim.accumulate=2",
            "model.name=omnisource-slowonly-tiny",
            "model.num_classes=3",
            *overrides,
        )

    return make


def test_a_run_learns_from_clips_and_images_and_is_validated_on_clips(both, monkeypatch):
    config, seen = both("model.options={image_classes=2}"), []
    loss = OmniSource.loss

    def watched(self, batch):
        losses = loss(self, batch)
        seen.extend((name, batch.labels.tolist()) for name in losses)
        return losses

    monkeypatch.setattr(OmniSource, "loss", watched)
    train(config)
    assert {name for name, _ in seen} == {"cls_loss", "image_loss"}
    labels = {name: {label for kind, rows in seen if kind == name for label in rows} for name, _ in seen}
    assert labels == {"cls_loss": {0, 1, 2}, "image_loss": {3, 4}}
    log = (RunFolder(Path(config.output) / config.name).path / "log.jsonl").read_text()
    assert '"top1"' in log


def test_more_classes_of_images_than_the_model_has_are_named(both):
    with pytest.raises(DataError, match=r"the model has 4 classes"):
        train(both("model.options={image_classes=1}"))


@pytest.mark.parametrize("name", ["slowonly-tiny", "tsn-tiny"])
def test_channels_last_trains_networks_of_clips_and_frames(name, make_config):
    config = make_config(f"model.name={name}", "train.channels_last=true", "train.max_steps=2")
    train(config)
    weights = RunFolder(Path(config.output) / config.name).weights("last")
    assert weights.is_file()
