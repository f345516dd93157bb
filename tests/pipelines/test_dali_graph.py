"""The DALI graph itself: decoding inside it, several shapes through one executor, and batches of changing size.

NVDEC needs a GPU, but the graph is the same on the CPU, where DALI decodes VP9.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from pictures import frames_sample

from vidflow.config.augmentation import ColorJitter, GaussianBlur, RandAugment, RandomErasing
from vidflow.config.pipeline import ClipPipeline, ClipSampling, FullFrame, Normalize, SegmentSampling, ThreeCrop
from vidflow.config.sampling import UntrimmedSampling
from vidflow.errors import DecodeError
from vidflow.media.probe import probe_video
from vidflow.pipelines.dali import DaliCpuExecutor, Graphs
from vidflow.pipelines.executor import ReferenceExecutor, make_executor
from vidflow.pipelines.nvdec import host_reason
from vidflow.pipelines.plan import make_plan, make_plans, sample_rng
from vidflow.pipelines.work import WorkItem
from vidflow.schema import SampleRecord

IDENTITY = Normalize(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
DENSE = ClipPipeline(sampling=ClipSampling(length=4, interval=3), short_side=None, crop=FullFrame(), size=(96, 128))
SPARSE = ClipPipeline(sampling=SegmentSampling(num_segments=3), short_side=80, crop=ThreeCrop(), size=(64, 64))


def items(paths, pipeline):
    made = []
    for number, path in enumerate(paths):
        record = SampleRecord(key=str(number), id=path.name, split="train", video=probe_video(path))
        made.append(WorkItem(record, make_plan(record, pipeline, sample_rng(0, 0, number)), path))
    return made


@pytest.fixture(scope="module")
def videos(numbered_video, tmp_path_factory):
    folder = tmp_path_factory.mktemp("graph")
    sizes = [(120, 160), (96, 128), (121, 161)]
    return [
        numbered_video(folder / f"{i}.webm", num_frames=24, height=h, width=w, codec="libvpx-vp9", first_number=100 * i)
        for i, (h, w) in enumerate(sizes)
    ]


@pytest.mark.parametrize("pipeline", [DENSE, SPARSE], ids=["dense", "sparse, three crops"])
def test_decoding_inside_the_graph_gives_the_frames_of_the_cpu_decoder(videos, pipeline, read_numbers):
    work = items(videos, pipeline)
    inside = Graphs(IDENTITY, decode=True, device="cpu", device_id=None, num_threads=1)
    views = inside.run([item.plan for item in work], [np.frombuffer(item.data.read_bytes(), np.uint8) for item in work])
    outside = DaliCpuExecutor(IDENTITY, num_threads=1).run(work)
    assert views.shape == outside.shape
    # DALI's own colour conversion rounds otherwise than swscale.
    assert (views - outside).abs().mean() < 2
    assert (views - outside).abs().max() <= 16
    if pipeline is DENSE:
        for item, clip in zip(work, views[:, 0], strict=True):
            first = 100 * int(item.record.id.removesuffix(".webm"))
            frames = clip.permute(1, 2, 3, 0).round().to(torch.uint8).numpy()
            assert read_numbers(frames) == [first + n for n in item.plan.frames]


def test_batches_may_change_size_and_shape_and_earlier_ones_stay(videos):
    executor, oracle = DaliCpuExecutor(IDENTITY, num_threads=2), ReferenceExecutor(IDENTITY)
    kept = []
    for pipeline, count in ((DENSE, 2), (SPARSE, 1), (DENSE, 3), (SPARSE, 3), (DENSE, 1)):
        work = items(videos[:count], pipeline)
        kept.append((executor.run(work), oracle.run(work)))
    for views, expected in kept:
        assert views.shape == expected.shape
        assert (views - expected).abs().max() <= 2


def test_plans_of_two_shapes_in_one_batch_are_refused(videos):
    mixed = items(videos[:1], DENSE) + items(videos[1:2], SPARSE)
    with pytest.raises(ValueError, match="must have one shape"):
        DaliCpuExecutor(IDENTITY, num_threads=1).run(mixed)


def test_plans_of_two_numbers_of_views_in_one_batch_are_refused(videos):
    one, three = (SPARSE.model_copy(update={"crop": crop}) for crop in (FullFrame(), ThreeCrop()))
    with pytest.raises(ValueError, match="must have one shape"):
        DaliCpuExecutor(IDENTITY, num_threads=1).run(items(videos[:1], one) + items(videos[1:2], three))


def test_untrimmed_videos_of_any_number_of_views_run_through_one_graph(videos):
    executor, oracle = DaliCpuExecutor(IDENTITY, num_threads=1), ReferenceExecutor(IDENTITY)
    counts = []
    for interval in (4, 5, 8, 24):
        pipeline = SPARSE.model_copy(update={"sampling": UntrimmedSampling(length=2, clip_interval=interval)})
        work = items(videos[:1], pipeline)
        views = executor.run(work)
        assert (views - oracle.run(work)).abs().max() <= 1
        counts.append(views.shape[1])
    assert counts == [18, 15, 9, 3]
    assert len(executor._graphs._built) == 1


def test_executors_work_from_many_threads(videos):
    executor = make_executor(IDENTITY, name="dali")
    work = items(videos * 4, DENSE)
    alone = [executor.prepare(item) for item in work]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(executor.prepare, work))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("name", ["dali", "reference"])
def test_a_file_that_is_not_the_probed_one_is_named(videos, name):
    item = items(videos[:1], DENSE)[0]
    with pytest.raises(DecodeError, match=r"sample 0 \(0\.webm\)"):
        make_executor(IDENTITY, name=name).run([WorkItem(item.record, item.plan, b"no video")])


def test_what_happens_to_decoded_frames_on_the_host_keeps_a_sample_from_nvdec(videos):
    record = items(videos[:1], DENSE)[0].record
    assert record.video is not None
    record = record.model_copy(update={"video": record.video.model_copy(update={"codec": "h264"})})

    def reason(**options):
        pipeline = DENSE.model_copy(update=options)
        plan, *more = make_plans(record, pipeline, seed=0, epoch=0, index=0)
        return host_reason(WorkItem(record, plan, b"", tuple(more)))

    assert reason() is None
    assert reason(blur=GaussianBlur(), erasing=RandomErasing(probability=1)) is None
    assert reason(rand_augment=RandAugment(num_ops=9)) == "augmentation policy"
    assert reason(repeats=2) == "repeated augmentation"


def test_flow_is_no_work_for_nvdec():
    record, members = frames_sample(6, num_flow=5)
    grey = Normalize(mean=(128.0, 128.0), std=(128.0, 128.0))
    flow = DENSE.model_copy(update={"modality": "flow", "flow_length": 2, "normalize": grey})
    plan = make_plan(record, flow, sample_rng(0, 0, 0))
    assert host_reason(WorkItem(record, plan, members)) == "flow"


def test_effects_inside_the_graph_that_decodes_are_those_of_decoded_frames(videos):
    """As NVDEC's graph has them: the only frames that it sees are its own."""
    changed = DENSE.model_copy(
        update={"blur": GaussianBlur(probability=1), "color_jitter": ColorJitter(brightness=0.3, hue=20), "flip": 0.5}
    )
    work = items(videos, changed)
    for item in work:  # geometry without colour operations, which alone would stay in the graph
        object.__setattr__(item.plan.effects, "warp", np.array([[0.9, 0.1, 3.0], [-0.1, 1.0, 2.0]]))
    inside = Graphs(IDENTITY, decode=True, device="cpu", device_id=None, num_threads=1)
    views = inside.run([item.plan for item in work], [np.frombuffer(item.data.read_bytes(), np.uint8) for item in work])
    outside = DaliCpuExecutor(IDENTITY, num_threads=1).run(work)
    assert (views - outside).abs().mean() < 2.5
