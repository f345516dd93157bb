"""The configs of sound hold the settings that were published."""

from vidflow.config.audio import AlignedSampling
from vidflow.config.loading import load_config
from vidflow.config.sampling import ClipSampling
from vidflow.pipelines.audio_plan import num_audio_views


def test_the_resnet_18_of_sound_has_the_published_settings():
    config = load_config("tsn_r18_8xb320-64x1x1-100e_kinetics400-audio-feature")
    data, optim = config.data, config.optim
    assert data.train.sampling == AlignedSampling(frames=ClipSampling(length=64, random=True))
    assert data.test_pipeline.sampling == AlignedSampling(frames=ClipSampling(length=64))
    assert (data.train.length, data.train.mel.num_mels, data.train.masking) == (128, 80, None)
    assert (optim.name, optim.lr, optim.weight_decay, optim.options, optim.clip_norm) == (
        "SGD",
        0.2,
        1e-4,
        {"momentum": 0.9},
        40,
    )
    assert (config.schedule.kind, config.train.epochs, config.train.batch_size) == ("cosine", 100, 320)


def test_the_network_of_sound_of_audiovisual_slowfast_is_tested_with_ten_views():
    config = load_config("audioonly_r50_8xb160-64x1x1-100e_kinetics400-audio-feature")
    assert num_audio_views(config.data.val) == 1
    assert num_audio_views(config.data.test_pipeline) == 10
    assert (config.optim.lr, config.train.batch_size, config.train.val_every) == (2.0, 160, 5)
