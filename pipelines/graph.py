"""The one DALI graph that carries out plans, for frames decoded outside or inside it, on the CPU or the GPU."""

import warnings
from dataclasses import dataclass

from vidflow.config.pipeline import Normalize

with warnings.catch_warnings():
    # DALI warns at import about NVTX and deprecated names of its own.
    warnings.simplefilter("ignore")
    from nvidia.dali import Pipeline, fn, types


@dataclass(frozen=True)
class GraphShape:
    """What a graph is built for: all plans with the same shape run through the same graph."""

    view_clips: tuple[int, ...]
    """The clip that each of V views shows."""
    num_frames: int
    """T, frames of a clip."""
    num_clips: int
    size: tuple[int, int]
    """Output height and width in pixels."""
    color: bool


def build_graph(
    shape: GraphShape,
    normalize: Normalize,
    *,
    decode: bool,
    device: str,
    device_id: int | None,
    batch_size: int,
    num_threads: int,
) -> Pipeline:
    """A built pipeline whose output is float32 [V, C, T, H, W] per sample.

    Inputs, per sample:
        frames: uint8 [C*T, H, W, 3] if not ``decode``.
        video, numbers: uint8 encoded bytes and int32 [C*T] frame numbers if ``decode``.
        starts, ends: float32 [V, 2], y x of the box's corners in source pixels.
        mirror: int32 [V].
        color: float32 [4], as ``Plan.color``, if ``shape.color``.

    Args:
        decode: decode inside the graph: NVDEC on the GPU; DALI's CPU decoder takes VP8, VP9 and MJPEG only.
        device: "cpu" or "gpu".
        batch_size: the largest batch.
    """
    gpu = device == "gpu"
    pipe = Pipeline(
        batch_size=batch_size, num_threads=num_threads, device_id=device_id, prefetch_queue_depth=1, exec_dynamic=True
    )
    with pipe:
        if decode:
            video = fn.external_source(name="video", ndim=1, dtype=types.UINT8, no_copy=True)
            numbers = fn.external_source(name="numbers", ndim=1, dtype=types.INT32)
            frames = fn.decoders.video(video, frames=numbers, device="mixed" if gpu else "cpu")
        else:
            frames = fn.external_source(name="frames", ndim=4, dtype=types.UINT8, layout="FHWC", no_copy=True)
            frames = frames.gpu() if gpu else frames
        starts = fn.external_source(name="starts", ndim=2, dtype=types.FLOAT)
        ends = fn.external_source(name="ends", ndim=2, dtype=types.FLOAT)
        mirror = fn.external_source(name="mirror", ndim=1, dtype=types.INT32)
        color = fn.external_source(name="color", ndim=1, dtype=types.FLOAT) if shape.color else None

        views = []
        for view, clip in enumerate(shape.view_clips):
            first = clip * shape.num_frames
            pixels = frames if shape.num_clips == 1 else frames[first : first + shape.num_frames]
            # Crop and scale in one resampling; antialias off agrees with OpenCV's bilinear to one grey level.
            pixels = fn.resize(
                pixels,
                size=shape.size,
                roi_start=starts[view],
                roi_end=ends[view],
                interp_type=types.INTERP_LINEAR,
                antialias=False,
            )
            if color is not None:
                pixels = fn.color_twist(
                    pixels, brightness=color[0], contrast=color[1], saturation=color[2], hue=color[3]
                )
            pixels = fn.crop_mirror_normalize(
                pixels,
                mirror=mirror[view],
                mean=list(normalize.mean),
                std=list(normalize.std),
                dtype=types.FLOAT,
                output_layout="CFHW",
            )
            views.append(pixels)
        pipe.set_outputs(fn.stack(*views, axis=0) if len(views) > 1 else views[0])
    pipe.build()
    return pipe
