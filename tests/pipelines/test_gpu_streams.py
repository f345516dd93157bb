"""Streams of every kind through the executor that decodes in its graph: on a GPU with NVDEC, and with the same code on
the CPU, where DALI decodes VP8 and VP9 only and everything else is left to PyAV.
"""

import time
from fractions import Fraction

import numpy as np
import pytest
import torch
from pictures import frames_sample

from vidflow.bench.stages import stage_passes
from vidflow.config.pipeline import ClipPipeline, ClipSampling, FullFrame, Normalize, SegmentSampling
from vidflow.media.probe import probe_video
from vidflow.pipelines.executor import ReferenceExecutor, make_executor
from vidflow.pipelines.hardware import nvdec_refusal
from vidflow.pipelines.loader import build_loader
from vidflow.pipelines.nvdec import GraphDecoder, GraphDecodingExecutor
from vidflow.pipelines.plan import make_plan, sample_rng
from vidflow.pipelines.work import WorkItem
from vidflow.schema import SampleRecord

RAW = Normalize(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
SIZE = (144, 192)
DENSE = ClipPipeline(sampling=ClipSampling(length=6, interval=2), short_side=None, crop=FullFrame(), size=SIZE)
SPARSE = DENSE.model_copy(update={"sampling": SegmentSampling(num_segments=5)})
ADA = (8, 9)

ON_GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device and DALI with NVDEC"),
]
# Frames of numbers have no colours; see the test of colours for these.
MAX_LEVELS = 4

_X264 = {"g": 12, "bf": 3, "crf": 10}
_VP9 = {"g": 12, "deadline": "realtime", "cpu-used": 8, "crf": 10, "b": 0}
_VFR = [0, 3, 4, 9, 10, 11, 15, 21, 22, 30, 31, 32, 40, 41, 47, 48, 49, 50, 60, 61, 62, 70, 71, 80]

# Name -> how it is written, and what of a reason NVDEC is not given it on any chip; None where it may be.
STREAMS = {
    "h264.mp4": ({"options": _X264}, None),
    "one group.mp4": ({"options": {**_X264, "g": 250}}, None),
    "intra.mp4": ({"options": {"g": 1, "bf": 0, "crf": 10}}, None),
    "vfr.mp4": ({"options": _X264, "pts": _VFR, "time_base": Fraction(1, 90)}, None),
    "hevc.mp4": ({"codec": "libx265"}, "hevc with open groups"),
    "hevc10.mp4": ({"codec": "libx265", "pix_fmt": "yuv420p10le"}, "hevc with open groups"),
    "vp9.webm": ({"codec": "libvpx-vp9", "options": _VP9}, None),
    "vp8.webm": ({"codec": "libvpx", "options": {"g": 12, "deadline": "realtime", "b": 2000000}}, None),
    "av1.mp4": (
        {"codec": "libsvtav1", "options": {"g": 12, "preset": 12, "crf": 15, "svtav1-params": "lp=1"}},
        "av1 that shows frames again",
    ),
    "mpeg4.mp4": ({"codec": "mpeg4", "options": {"g": 12, "q": 2}}, None),
    "rotated.mp4": ({"options": _X264, "rotation": 90, "height": 192, "width": 144}, "rotation"),
    "odd.webm": ({"codec": "libvpx-vp9", "options": _VP9, "height": 145, "width": 193}, "odd width"),
    "444.mp4": ({"options": _X264, "pix_fmt": "yuv444p"}, "pixel format"),
    "tiny.mp4": ({"options": _X264, "height": 16, "width": 32}, "smaller"),
}


def cpu_engine(normalize):
    """What NVDEC takes on Ada, as far as DALI's CPU decoder takes it too."""

    def refusal(video):
        return nvdec_refusal(video, ADA) or (None if video.codec in ("vp8", "vp9") else f"codec {video.codec}")

    return GraphDecodingExecutor(normalize, GraphDecoder("DALI's CPU decoder", refusal), device="cpu", num_threads=1)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=ON_GPU)])
def engine(request):
    return cpu_engine(RAW) if request.param == "cpu" else make_executor(RAW, "dali", "gpu", device="cuda")


@pytest.fixture(scope="module")
def stream(numbered_video, tmp_path_factory):
    """``stream(name)`` -> file of 24 frames; frame i shows 100 + i."""
    folder = tmp_path_factory.mktemp("streams")

    def write(name):
        path = folder / name
        if not path.exists():
            options = {"height": SIZE[0], "width": SIZE[1], "first_number": 100} | STREAMS[name][0]
            numbered_video(path, 24, **options)
        return path

    return write


def item_of(path, pipeline, number=0):
    record = SampleRecord(key=f"{number:03d}", id=path.name, split="train", video=probe_video(path))
    return WorkItem(record, make_plan(record, pipeline, sample_rng(0, 0, number)), path.read_bytes())


@pytest.mark.parametrize("pipeline", [DENSE, SPARSE], ids=["dense", "sparse"])
@pytest.mark.parametrize("name", STREAMS)
def test_frames_and_pixels_are_those_of_the_cpu_decoder(engine, stream, name, pipeline, read_numbers):
    item = item_of(stream(name), pipeline)
    views = engine.run([item]).cpu()
    expected = ReferenceExecutor(RAW).run([item])
    shown = views[0, 0].permute(1, 2, 3, 0).round().to(torch.uint8).numpy()
    if name != "tiny.mp4":  # too small for numbers
        assert read_numbers(shown) == [100 + int(number) for number in item.plan.frames]
    assert (views - expected).abs().max() <= MAX_LEVELS
    reason = STREAMS[name][1]
    counted = list(engine.num_decoded_on_cpu)
    assert engine.num_in_graph + len(counted) == 1
    if reason is not None:
        assert engine.num_in_graph == 0


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=ON_GPU) for name in STREAMS if STREAMS[name][1] is None and "mpeg4" not in name]
)
def test_nvdec_itself_decodes_what_it_should(stream, name):
    """Or the test above would compare the CPU decoder with itself."""
    engine = make_executor(RAW, "dali", "gpu", device="cuda")
    engine.run([item_of(stream(name), DENSE)])
    assert (engine.num_in_graph, dict(engine.num_decoded_on_cpu)) == (1, {})


@pytest.mark.parametrize("name", ["vp8.webm", "vp9.webm"])
def test_dalis_cpu_decoder_decodes_what_it_should(stream, name):
    engine = cpu_engine(RAW)
    engine.run([item_of(stream(name), DENSE)])
    assert (engine.num_in_graph, dict(engine.num_decoded_on_cpu)) == (1, {})


def test_a_batch_of_all_kinds_keeps_its_order(engine, stream, read_numbers):
    names = [name for name in STREAMS if name != "tiny.mp4"]
    work = [item_of(stream(name), DENSE, number) for number, name in enumerate(names)]
    views = engine.run(work).cpu()
    assert (views - ReferenceExecutor(RAW).run(work)).abs().max() <= MAX_LEVELS
    assert engine.num_in_graph + engine.num_decoded_on_cpu.total() == len(work)


@pytest.mark.parametrize("matrix", [1, 5], ids=["bt709", "bt601"])
def test_colours_are_those_of_the_cpu_decoder(engine, numbered_video, tmp_path, matrix):
    colors = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200], [180, 180, 60]], np.uint8)

    def stripes(height, width, number):
        return np.repeat(colors[np.arange(height) * 4 // height][:, None], width, axis=1)

    def tag(stream):
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, 1

    path = numbered_video(
        tmp_path / "colors.webm", 12, height=SIZE[0], width=SIZE[1], codec="libvpx-vp9", options=_VP9, draw=stripes,
        prepare=tag,
    )  # fmt: skip
    item = item_of(path, DENSE)
    difference = (engine.run([item]).cpu() - ReferenceExecutor(RAW).run([item])).abs()
    middles = [SIZE[0] // 8 + SIZE[0] // 4 * stripe for stripe in range(4)]  # between pixels of one colour
    assert difference[0, 0, :, :, middles].max() <= MAX_LEVELS
    assert engine.num_in_graph == 1


def test_pictures_are_those_of_the_cpu_decoder(engine):
    record, members = frames_sample(20, height=144, width=192)
    item = WorkItem(record, make_plan(record, DENSE, sample_rng(0, 0, 0)), members)
    difference = (engine.run([item]).cpu() - ReferenceExecutor(RAW).run([item])).abs()
    assert difference.mean() <= 1
    assert (difference > MAX_LEVELS).float().mean() < 0.02  # edges of colour, between samples of chroma
    assert (engine.num_in_graph, dict(engine.num_decoded_on_cpu)) == (1, {})


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=ON_GPU)])
def test_throughput_is_measured(packed, device, record_property):
    """Reported (``--junit-xml``), not judged: it depends on the machine."""
    passes = stage_passes(
        packed, SPARSE, split="train", num_samples=8, batch_size=4, num_threads=2, device=device, executor="dali"
    )
    for name in ("decode", "augment", "loader"):
        start = time.perf_counter()
        assert passes[name].run() == 8
        record_property(f"{device}_{name}_clips_per_s", 8 / (time.perf_counter() - start))


def test_earlier_batches_stay_as_they_are(engine, stream):
    work = [item_of(stream("vp9.webm"), DENSE, number) for number in range(4)]
    first = engine.run(work)
    before = first.clone()
    for _ in range(10):
        engine.run(work)
    assert (first == before).all()


class TestOnGpu:
    """The loader with clips on a GPU."""

    pytestmark = ON_GPU
    OPTIONS = {"split": "train", "batch_size": 4, "training": True, "device": "cuda", "executor": "dali"}

    def test_auto_measures_and_says_what_it_chose(self, packed):
        loader = build_loader(packed, DENSE, decode="auto", **self.OPTIONS)
        assert loader.decode_note.startswith('decode = "')
        assert loader.decode_note.count("clips/s") == 2
        assert all(batch.clips.is_cuda for batch in loader)

    def test_clips_are_the_same_whatever_decodes(self, packed):
        ways = [list(build_loader(packed, DENSE, decode=way, **self.OPTIONS)) for way in ("cpu", "gpu")]
        for one, other in zip(*ways, strict=True):
            assert one.ids == other.ids
            levels = (one.clips - other.clips).cpu().abs() * torch.tensor(DENSE.normalize.std).view(3, 1, 1, 1)
            assert levels.max() <= MAX_LEVELS + 1

    def test_what_lies_on_the_host_is_page_locked(self, packed):
        for name in ("dali", "reference"):
            batch = next(iter(build_loader(packed, DENSE, **self.OPTIONS | {"executor": name})))
            assert batch.inputs["frame_padding"].is_pinned()
            assert batch.clips.is_cuda or batch.clips.is_pinned()
            moved = batch.to("cuda")
            torch.cuda.synchronize()
            assert (moved.clips.cpu() == batch.clips.cpu()).all()

    def test_memory_stays_flat(self, packed):
        loader = build_loader(packed, DENSE, decode="gpu", **self.OPTIONS)
        free = []
        for _ in range(6):
            for _ in loader:
                pass
            torch.cuda.synchronize()
            free.append(torch.cuda.mem_get_info()[0])
        assert free[-1] >= free[1] - (64 << 20)
