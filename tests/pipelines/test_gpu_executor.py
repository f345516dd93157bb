"""Decoding inside the graph or on the CPU, sample by sample: the code of NVDEC, run with DALI's CPU decoder for VP9.

Frames show their numbers, so that a wrong one cannot pass.
"""

from dataclasses import replace

import av
import cv2
import numpy as np
import pytest
import torch
from pictures import frames_sample, jpeg, scene

from vidflow.config.augmentation import ColorJitter, RandomErasing
from vidflow.config.pipeline import (
    ClipPipeline,
    ClipSampling,
    FullFrame,
    Normalize,
    SegmentSampling,
    TenCrop,
    ThreeCrop,
)
from vidflow.errors import DecodeError
from vidflow.media.probe import probe_video
from vidflow.pipelines import nvdec
from vidflow.pipelines.dali import DaliCpuExecutor
from vidflow.pipelines.executor import ReferenceExecutor
from vidflow.pipelines.nvdec import GraphDecoder, GraphDecodingExecutor
from vidflow.pipelines.plan import make_plan, make_plans, sample_rng
from vidflow.pipelines.work import WorkItem
from vidflow.schema import SampleRecord

RAW = Normalize(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
CLIP = ClipPipeline(sampling=ClipSampling(length=4, interval=3), short_side=None, crop=FullFrame(), size=(96, 128))
_VP9 = {"g": 12, "deadline": "realtime", "cpu-used": 8, "crf": 20, "b": 0}


def only_vp9(video):
    return None if video.codec == "vp9" else f"codec {video.codec}"


def executor(refusal=only_vp9, **options):
    decoder = GraphDecoder("VP9 decoder", refusal)
    return GraphDecodingExecutor(RAW, decoder, device="cpu", num_threads=1, **options)


def item_of(path, number=0, pipeline=CLIP, **changes):
    record = SampleRecord(key=f"{number:03d}", id=path.name, split="train", video=probe_video(path))
    return WorkItem(record, make_plan(record, pipeline, sample_rng(0, 0, number)), path.read_bytes())


def planned(work, step=100):
    """[B, T] numbers that the clips' frames show."""
    return [[step * i + int(n) for n in item.plan.frames] for i, item in enumerate(work)]


def numbers_of(views, read_numbers):
    """[B, T] numbers that the first views show."""
    return [read_numbers(clip.permute(1, 2, 3, 0).round().to(torch.uint8).numpy()) for clip in views[:, 0]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("streams")


@pytest.fixture(scope="module")
def mixed(folder, numbered_video):
    """VP9 and H.264 by turns; clip i begins with the number 100 i."""
    made = []
    for i in range(6):
        if i % 2:
            made.append(numbered_video(folder / f"{i}.mp4", 24, first_number=100 * i))
        else:
            made.append(
                numbered_video(folder / f"{i}.webm", 24, codec="libvpx-vp9", options=_VP9, first_number=100 * i)
            )
    return made


@pytest.fixture
def work(mixed):
    return [item_of(path, number) for number, path in enumerate(mixed)]


def test_rows_of_a_mixed_batch_keep_their_order_and_are_counted(work, read_numbers):
    engine = executor()
    views = engine.run(work)
    assert numbers_of(views, read_numbers) == planned(work)
    assert engine.num_in_graph == 3
    assert engine.num_decoded_on_cpu == {"codec h264": 3}
    outside = DaliCpuExecutor(RAW, num_threads=1).run(work)
    assert (views[1::2] - outside[1::2]).abs().max() <= 1
    assert (views - outside).abs().mean() < 2


@pytest.mark.parametrize("pipeline", [
    CLIP.model_copy(update={"sampling": SegmentSampling(num_segments=3), "crop": ThreeCrop(), "short_side": 80}),
    CLIP.model_copy(update={"color_jitter": ColorJitter(brightness=0.3), "flip": 0.5}),
])  # fmt: skip
def test_views_and_effects_are_those_of_the_cpu_decoder(mixed, pipeline):
    work = [item_of(path, number, pipeline) for number, path in enumerate(mixed)]
    engine = executor()
    assert (engine.run(work) - DaliCpuExecutor(RAW, num_threads=1).run(work)).abs().mean() < 2
    assert engine.num_in_graph == 3


def test_erasing_finds_the_right_rows(mixed):
    pipeline = CLIP.model_copy(update={"erasing": RandomErasing(probability=1, mode="pixel")})
    work = [item_of(path, number, pipeline) for number, path in enumerate(mixed)]
    assert (executor().run(work) - DaliCpuExecutor(RAW, num_threads=1).run(work)).abs().mean() < 2


def test_without_a_decoder_everything_is_decoded_outside_and_nothing_is_counted(work):
    engine = GraphDecodingExecutor(RAW, None, device="cpu", num_threads=1)
    expected = DaliCpuExecutor(RAW, num_threads=1).run(work)
    assert (engine.run(work) - expected).abs().max() <= 1  # DALI resamples here, OpenCV there
    assert not engine.num_decoded_on_cpu
    assert not engine.num_in_graph


def test_repeats_are_decoded_outside_and_counted(work):
    plan, more = make_plans(work[0].record, CLIP.model_copy(update={"repeats": 2}), seed=0, epoch=0, index=0)
    engine = executor()
    views = engine.run([WorkItem(work[0].record, plan, work[0].data, (more,)), work[2]])
    assert len(views) == 3
    assert engine.num_decoded_on_cpu == {"repeated augmentation": 1}
    assert engine.num_in_graph == 1


class TestPictures:
    """JPEG pictures are decoded inside the graph, each as a sample of its own."""

    @pytest.mark.parametrize("changes", [
        {},
        {"sampling": ClipSampling(length=3, interval=2, num_clips=2), "flip": 1.0, "crop": ThreeCrop(),
         "short_side": 64, "size": (48, 48)},
        {"color_jitter": ColorJitter(brightness=0.3), "short_side": 64, "crop": TenCrop(), "size": (40, 40)},
    ], ids=["clip", "clips and crops", "colours"])  # fmt: skip
    def test_views_are_those_of_the_reference(self, changes):
        pipeline = CLIP.model_copy(update=changes)
        record, members = frames_sample(20)
        items = [WorkItem(record, make_plan(record, pipeline, sample_rng(0, 0, n)), members) for n in range(3)]
        engine = executor()
        views, expected = engine.run(items), ReferenceExecutor(RAW).run(items)
        assert views.shape == expected.shape
        assert (views - expected).abs().max() <= 2
        assert (engine.num_in_graph, dict(engine.num_decoded_on_cpu)) == (3, {})

    def test_they_share_batches_with_streams_in_order(self, work):
        record, members = frames_sample(20)
        pictures = WorkItem(record, make_plan(record, CLIP, sample_rng(0, 0, 0)), members)
        mixed = [work[0], pictures, work[1], pictures]
        engine = executor()
        assert (engine.run(mixed) - ReferenceExecutor(RAW).run(mixed)).abs().mean() < 2
        assert engine.num_in_graph == 3
        assert engine.num_decoded_on_cpu == {"codec h264": 1}

    @pytest.mark.parametrize("change", [
        lambda members: members | {"rgb.00001.jpg": members["rgb.00001.jpg"][:40]},
        lambda members: members | {"rgb.00001.jpg": b""},
        lambda members: members | {"rgb.00001.jpg": jpeg(scene(40, 40, 0))},
        lambda members: {name: data for name, data in members.items() if name != "rgb.00001.jpg"},
    ], ids=["cut short", "empty", "of another size", "missing"])  # fmt: skip
    def test_damaged_ones_are_an_error_that_names_the_sample(self, change):
        record, members = frames_sample(20)
        plan = make_plan(record, CLIP, sample_rng(0, 0, 0))
        plan.frames[0] = 0
        with pytest.raises(DecodeError, match=r"sample 000003 \(walk/clip 3\)"):
            executor().run([WorkItem(record, plan, change(members))])

    def test_png_goes_to_the_cpu(self):
        record, members = frames_sample(20)
        assert record.frames is not None
        record = record.model_copy(update={"frames": record.frames.model_copy(update={"container": "png"})})
        pngs = {}
        for name, data in members.items():
            done, png = cv2.imencode(".png", cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))
            assert done
            pngs[name.replace(".jpg", ".png")] = png.tobytes()
        engine = executor()
        engine.run([WorkItem(record, make_plan(record, CLIP, sample_rng(0, 0, 0)), pngs)])
        assert engine.num_decoded_on_cpu == {"pictures as png": 1}

    def test_views_in_another_order_than_clip_by_clip_are_refused(self):
        record, _ = frames_sample(20)
        two_clips = CLIP.model_copy(update={"sampling": ClipSampling(length=2, num_clips=2)})
        plan = make_plan(record, two_clips, sample_rng(0, 0, 0))
        swapped = replace(plan, view_clips=plan.view_clips[::-1].copy())
        with pytest.raises(ValueError, match="clip by clip"):
            executor()._new_graphs(decode=True).run([swapped], [[np.zeros(1, np.uint8)] * 4])


class TestFailures:
    """A decoder that takes a stream and then fails on it: DALI's CPU decoder, given H.264."""

    def test_the_sample_goes_to_the_cpu_is_counted_and_is_not_lost(self, work, read_numbers):
        engine = executor(lambda video: None)
        views = engine.run(work)
        assert numbers_of(views, read_numbers) == [
            [100 * i + int(n) for n in w.plan.frames] for i, w in enumerate(work)
        ]
        assert engine.num_decoded_on_cpu == {"VP9 decoder has failed": 3}
        assert engine.num_in_graph == 3

    def test_the_same_sample_is_not_tried_again(self, work, monkeypatch):
        engine = executor(lambda video: None)
        engine.run(work)
        failed = []
        monkeypatch.setattr(engine._decoding, "forget", lambda: failed.append(1))
        engine.run(work)
        assert not failed
        assert engine.num_decoded_on_cpu == {"VP9 decoder has failed": 6}

    def test_one_of_a_known_class_is_found_in_its_batch(self, work, read_numbers, monkeypatch):
        engine = executor()
        vp9 = work[::2]
        engine.run(vp9)
        assert engine.num_in_graph == 3
        plan = vp9[1].plan
        run = engine._decoding.run

        def fails_on_one(plans, sources, colors):
            if any(other is plan for other in plans):
                raise RuntimeError("the chip is tired")
            return run(plans, sources, colors)

        monkeypatch.setattr(engine._decoding, "run", fails_on_one)
        views = engine.run(vp9)
        assert numbers_of(views, read_numbers) == planned(vp9, 200)
        assert engine.num_in_graph == 3 + 2
        assert engine.num_decoded_on_cpu == {"VP9 decoder has failed": 1}

    def test_a_class_that_fails_too_often_is_not_tried_any_more(self, folder, numbered_video, monkeypatch):
        monkeypatch.setattr(nvdec, "MAX_FAILURES", 2)
        paths = [numbered_video(folder / f"many {i}.mp4", 12, first_number=i) for i in range(4)]
        engine = executor(lambda video: None)
        engine.run([item_of(path, number) for number, path in enumerate(paths)])
        reasons = dict(engine.num_decoded_on_cpu)
        assert reasons == {
            "VP9 decoder has failed": 2,
            "VP9 decoder has failed on 2 streams of h264 High yuv420p in mp4": 2,
        }

    def test_bytes_that_no_decoder_takes_are_an_error_that_names_the_sample(self, work):
        item = work[0]
        broken = bytearray(item.data)
        broken[len(broken) // 3 :] = b"\0" * (len(broken) - len(broken) // 3)
        with pytest.raises(DecodeError, match=r"sample 000 \(0\.webm\)"):
            executor().run([WorkItem(item.record, item.plan, bytes(broken))])

    def test_frames_past_the_end_are_no_black_frames(self, work):
        item = work[0]
        assert item.record.video is not None
        plan = make_plan(item.record, CLIP, sample_rng(0, 0, 0))
        plan.frames[-1] = 24
        graphs = executor()._new_graphs(decode=True)
        with pytest.raises(RuntimeError, match="out-of-bounds"):
            graphs.run([plan], [np.frombuffer(item.data, np.uint8)])


class TestTrial:
    """The first stream of a class is decoded both ways."""

    def test_a_class_with_other_frames_is_left_to_the_cpu(self, work, read_numbers, monkeypatch):
        engine = executor()
        made = engine._new_graphs

        def off_by_one(*, decode):
            graphs = made(decode=decode)
            if decode:
                run = graphs.run
                graphs.run = lambda plans, sources, colors: run(plans, sources, colors).flip(3)
            return graphs

        monkeypatch.setattr(engine, "_new_graphs", off_by_one)
        views = engine.run(work)
        assert numbers_of(views, read_numbers) == [
            [100 * i + int(n) for n in w.plan.frames] for i, w in enumerate(work)
        ]
        assert engine.num_in_graph == 0
        (reason,) = set(engine.num_decoded_on_cpu) - {"codec h264"}
        assert reason.startswith("VP9 decoder decodes vp9 Profile 0 yuv420p in webm otherwise, by ")
        assert engine.prepare(work[2]).reason == reason

    def test_is_made_once_per_class(self, work, monkeypatch):
        engine = executor()
        made = engine._new_graphs
        built = []
        monkeypatch.setattr(engine, "_new_graphs", lambda *, decode: built.append(decode) or made(decode=decode))
        for _ in range(2):
            engine.run(work)
        assert built == [False, True]


def test_colours_of_another_matrix_are_put_right(folder, numbered_video):
    """DALI converts everything with BT.601; the stream says BT.709."""
    colored = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200], [180, 180, 60]], np.uint8)

    def stripes(height, width, number):
        return np.repeat(colored[np.arange(height) * 4 // height][:, None], width, axis=1)

    def tag(stream):
        stream.codec_context.colorspace, stream.codec_context.color_range = 1, 1

    path = numbered_video(
        folder / "bt709.webm", 6, height=128, width=160, codec="libvpx-vp9", options=_VP9, draw=stripes, prepare=tag
    )
    with av.open(str(path)) as file:
        assert next(file.decode(video=0)).colorspace == 1
    pipeline = CLIP.model_copy(update={"size": (128, 160), "sampling": ClipSampling(length=1)})
    item = item_of(path, pipeline=pipeline)
    engine = executor()
    right = DaliCpuExecutor(RAW, num_threads=1).run([item])
    assert engine.prepare(item).colors is not None
    inner = [16, 48, 80, 112]  # middle of each stripe: chroma of its own
    assert (engine.run([item]) - right)[0, 0, :, 0, inner].abs().max() <= 4
    assert engine.num_in_graph == 1
    uncorrected = engine._new_graphs(decode=True).run([item.plan], [np.frombuffer(item.data, np.uint8)])
    assert (uncorrected - right)[0, 0, :, 0, inner].abs().max() > 8
