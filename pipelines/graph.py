"""The one DALI graph that carries out plans, for frames decoded outside or inside it, on the CPU or the GPU."""

import warnings
from dataclasses import dataclass

from vidflow.config.pipeline import Normalize
from vidflow.pipelines.pixel_ops import FILL
from vidflow.pipelines.reference import channel_values

with warnings.catch_warnings():
    # DALI warns at import about NVTX and deprecated names of its own.
    warnings.simplefilter("ignore")
    from nvidia.dali import Pipeline, fn, types
    from nvidia.dali.data_node import DataNode


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
    warp: bool = False
    blur: bool = False
    flow_length: int = 0
    """0 for RGB; L steps of flow in 2 L channels."""
    pictures: bool = False
    """Whether what is decoded inside the graph are pictures, one a sample, and no streams."""
    resampled: bool = False
    """Whether frames come as views of the output's size already."""
    colors: bool = False
    """Whether decoded colours still have to become those of the stream's matrix."""


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
    """A built pipeline whose output is float32 [V, C, T, H, W] per sample, one row of the batch.

    Inputs, per sample:
        frames: uint8 [C*T, H, W, 3 or 2 L] if not ``decode``; [T, h, w, 3] if ``shape.resampled``.
        video, numbers: uint8 encoded bytes and int32 [C*T] frame numbers if ``decode``; no numbers of pictures.
        starts, ends: float32 [V, 2], y x of the box's corners in source pixels; or with ``shape.warp``
        matrices: float32 [V, 2, 3], from output to source pixels; neither if ``shape.resampled``.
        colors: float32 [3, 3], from decoded RGB to the stream's, if ``shape.colors``.
        mirror: int32 [V].
        color: float32 [5], as ``Plan.color``, if ``shape.color``.
        sigma, window: float32 [1] and int32 [1], of the blur in pixels, if ``shape.blur``.

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
        if decode and shape.pictures:
            data = fn.external_source(name="video", ndim=1, dtype=types.UINT8, no_copy=True)
            # Pixels as stored: an orientation tag would turn single frames of a sample.
            picture = fn.decoders.image(
                data, device="mixed" if gpu else "cpu", output_type=types.RGB, adjust_orientation=False
            )
            frames = fn.expand_dims(picture, axes=[0], new_axis_names="F")  # [H, W, 3] -> [1, H, W, 3]
        elif decode:
            video = fn.external_source(name="video", ndim=1, dtype=types.UINT8, no_copy=True)
            numbers = fn.external_source(name="numbers", ndim=1, dtype=types.INT32)
            # Without padding, frames past the end of a stream are an error; the default makes them black.
            frames = fn.decoders.video(video, frames=numbers, pad_mode="none", device="mixed" if gpu else "cpu")
        else:
            frames = fn.external_source(name="frames", ndim=4, dtype=types.UINT8, layout="FHWC", no_copy=True)
            frames = frames.gpu() if gpu else frames
        inputs = _Inputs(shape, gpu=gpu)
        views = [inputs.view(frames, normalize, view) for view in range(len(shape.view_clips))]
        pipe.set_outputs(fn.stack(*views, axis=0) if len(views) > 1 else views[0])
    pipe.build()
    return pipe


class _Inputs:
    """The numbers of the plans as inputs of a graph, and what the graph makes of them."""

    def __init__(self, shape: GraphShape, *, gpu: bool) -> None:
        self.shape, self.gpu = shape, gpu

        def numbers(name: str, ndim: int, dtype: types.DALIDataType = types.FLOAT) -> DataNode:
            return fn.external_source(name=name, ndim=ndim, dtype=dtype)

        if shape.warp:
            self.matrices = numbers("matrices", 3)
        elif not shape.resampled:
            self.starts, self.ends = numbers("starts", 2), numbers("ends", 2)
        self.colors = numbers("colors", 2) if shape.colors else None
        self.mirror = numbers("mirror", 1, types.INT32)
        self.color = numbers("color", 1) if shape.color else None
        if shape.blur:
            self.sigma, self.window = numbers("sigma", 1), numbers("window", 1, types.INT32)

    def view(self, frames: DataNode, normalize: Normalize, view: int) -> DataNode:
        """All frames of one view, normalised, [C, T, H, W]."""
        shape = self.shape
        first = shape.view_clips[view] * shape.num_frames
        pixels = self._resampled(frames if shape.num_clips == 1 else frames[first : first + shape.num_frames], view)
        if self.colors is not None:
            pixels = fn.coord_transform(pixels, M=self.colors, dtype=types.UINT8)
        if (color := self.color) is not None:
            pixels = fn.hsv(pixels, hue=color[3], saturation=color[2], dtype=types.FLOAT)
            pixels = fn.brightness_contrast(
                pixels, brightness=color[0], contrast=color[1], contrast_center=color[4], dtype=types.UINT8
            )
        if shape.blur:
            pixels = fn.gaussian_blur(pixels, sigma=self.sigma, window_size=self.window)
        mirror = self.mirror[view]
        if length := shape.flow_length:
            # A mirrored motion goes the other way: x becomes 255 - x, y stays.
            turned = fn.cast(mirror, dtype=types.FLOAT) * types.Constant([1.0, 0.0] * length, dtype=types.FLOAT)
            turned = turned.gpu() if self.gpu else turned  # [2 L], as arithmetic takes no arrays of two devices
            pixels = fn.cast(pixels, dtype=types.FLOAT) * (1.0 - 2.0 * turned) + 255.0 * turned
        mean, std = channel_values(normalize, 2 * shape.flow_length or 3)
        return fn.crop_mirror_normalize(
            fn.reshape(pixels, layout="FHWC"),
            mirror=mirror,
            mean=mean,
            std=std,
            dtype=types.FLOAT,
            output_layout="CFHW",
        )

    def _resampled(self, pixels: DataNode, view: int) -> DataNode:
        """Crop and scale in one resampling; antialias off agrees with OpenCV's bilinear to one grey level."""
        if self.shape.resampled:
            return pixels
        if self.shape.warp:
            return fn.warp_affine(
                pixels,
                matrix=self.matrices[view],
                size=self.shape.size,
                fill_value=float(FILL),
                interp_type=types.INTERP_LINEAR,
            )
        return fn.resize(
            pixels,
            size=self.shape.size,
            roi_start=self.starts[view],
            roi_end=self.ends[view],
            interp_type=types.INTERP_LINEAR,
            antialias=False,
        )
