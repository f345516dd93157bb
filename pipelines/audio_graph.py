"""The DALI graph of sound: decoding, raising the rate, loudness, spectrogram, mel bands and decibels.

Frame ``t`` of the features sees the samples from ``t * hop - (fft - hop)`` on, and what lies outside the sound is zero.
So a view of T frames is one stretch of samples, cut out of the whole at one loudness, and its spectrogram.

Shapes: V views of T frames, F bands.
"""

import warnings

from vidflow.config.audio import MelSettings
from vidflow.media.mel import LOUDNESS, MIN_DB, MIN_LOUDNESS, REFERENCE_DB, analysis_window

with warnings.catch_warnings():
    # DALI warns at import about NVTX and deprecated names of its own.
    warnings.simplefilter("ignore")
    from nvidia.dali import Pipeline, fn, math, types


def build_audio_graph(
    mel: MelSettings, *, num_views: int, length: int, device_id: int | None, batch_size: int, num_threads: int
) -> Pipeline:
    """A built pipeline whose outputs, per sample, are float32 [V, T, F], the decoded samples, int64 [1], and
    their root mean square, float32 [].

    Inputs, per sample:
        sound: uint8 bytes of a sound file that libsndfile reads, of a rate that is not above the features'.
        starts: int32 [V], the first sample of each view.

    Args:
        length: T.
        device_id: of the GPU on which all but decoding is done; None does all on the CPU.
    """
    samples_per_view = (length - 1) * mel.hop_size + mel.fft_size
    pipe = Pipeline(
        batch_size=batch_size, num_threads=num_threads, device_id=device_id, prefetch_queue_depth=1, exec_dynamic=True
    )
    with pipe:
        data = fn.external_source(name="sound", ndim=1, dtype=types.UINT8)
        starts = fn.external_source(name="starts", ndim=1, dtype=types.INT32)
        sound, _ = fn.decoders.audio(data, sample_rate=float(mel.sample_rate), downmix=True, dtype=types.FLOAT)
        num_samples = sound.shape()
        if device_id is not None:
            sound = sound.gpu()
        rms = fn.reductions.rms(sound)
        loudness = math.max(rms, MIN_LOUDNESS)
        views = []
        for view in range(num_views):
            stretch = fn.slice(
                sound,
                start=starts[view : view + 1],
                shape=[samples_per_view],
                axes=[0],
                out_of_bounds_policy="pad",
                fill_values=0.0,
            )
            views.append(_features(stretch * (LOUDNESS / loudness), mel))
        pipe.set_outputs(fn.stack(*views, axis=0), num_samples, rms)
    pipe.build()
    return pipe


def _features(samples: object, mel: MelSettings) -> object:
    """Features [T, F] of one stretch of sound."""
    spectrum = fn.spectrogram(
        samples,
        nfft=mel.fft_size,
        window_length=mel.fft_size,
        window_step=mel.hop_size,
        window_fn=analysis_window(mel.fft_size, mel.hop_size).tolist(),
        center_windows=False,
        power=1,
    )  # [fft_size / 2 + 1, T]
    bands = fn.mel_filter_bank(
        spectrum,
        nfilter=mel.num_mels,
        sample_rate=float(mel.sample_rate),
        freq_low=mel.lowest_hz,
        freq_high=mel.highest_hz,
        mel_formula="slaney",
        normalize=True,
    )
    decibels = fn.to_decibels(bands, multiplier=20.0, reference=1.0, cutoff_db=MIN_DB) - REFERENCE_DB
    return fn.transpose(math.clamp((decibels - MIN_DB) / -MIN_DB, 0.0, 1.0), perm=[1, 0])
