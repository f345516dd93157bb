"""Layouts of skeletons: the published ones agree with each other and with MMAction2 1.2.0, one's own are checked."""

import json
from pathlib import Path

import pytest

from vidflow.schema import NUM_KEYPOINTS
from vidflow.skeletons.layouts import LAYOUTS, SkeletonLayout, find_layout, hops_from, layout_from_edges

ALL = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)


def test_layouts_that_samples_can_have_are_known_with_the_same_number_of_keypoints():
    assert {name: LAYOUTS[name].num_keypoints for name in NUM_KEYPOINTS} == NUM_KEYPOINTS


@ALL
def test_edges_make_a_tree_and_lead_towards_the_centre(layout):
    hops = hops_from(layout.center, layout.inward, layout.num_keypoints)
    assert len(layout.inward) == layout.num_keypoints - 1
    assert all(hops[j] == hops[i] - 1 for i, j in layout.inward)


@ALL
def test_bones_lead_to_one_keypoint_without_a_bone(layout):
    parents = dict(layout.bones)
    (root,) = [start for start, end in layout.bones if start == end]
    for point in range(layout.num_keypoints):
        steps = 0
        while point != root:
            point, steps = parents[point], steps + 1
            assert steps < layout.num_keypoints


@ALL
def test_edges_of_one_side_are_those_of_the_other(layout):
    edges = {frozenset(edge) for edge in layout.inward}
    assert edges == {frozenset(layout.mirrored[point] for point in edge) for edge in edges}
    bones = {frozenset(bone) for bone in layout.bones}
    assert bones == {frozenset(layout.mirrored[point] for point in bone) for bone in bones}


@ALL
def test_mirroring_twice_changes_nothing(layout):
    assert [layout.mirrored[other] for other in layout.mirrored] == list(range(layout.num_keypoints))
    assert [layout.mirrored_limbs[other] for other in layout.mirrored_limbs] == list(range(len(layout.limbs)))


def test_limbs_of_coco_are_those_of_posec3d():
    """MMAction2 1.2.0, GeneratePoseTarget: 17 limbs, and which of them are left and right."""
    coco = LAYOUTS["coco"]
    assert coco.limbs[:5] == ((0, 1), (0, 2), (1, 3), (2, 4), (0, 5))
    assert len(coco.limbs) == 17
    left, right = (0, 2, 4, 5, 6, 10, 11, 12), (1, 3, 7, 8, 9, 13, 14, 15)
    assert [coco.mirrored_limbs[limb] for limb in left] == list(right)
    assert coco.mirrored_limbs[16] == 16


def test_bones_of_the_ntu_layout_are_the_published_ones():
    """2s-AGCN: pairs of joints counted from 1; the tip of a hand hangs on its thumb."""
    bones = dict(LAYOUTS["nturgb+d"].bones)
    assert [bones[point] for point in (0, 1, 20, 21, 22, 23, 24)] == [1, 20, 20, 22, 7, 24, 11]


def test_an_edge_list_is_turned_towards_the_centre():
    layout = find_layout(
        {"num_keypoints": 4, "edges": [[0, 1], [1, 2], [1, 3]], "center": 1, "left": [2], "right": [3]}
    )
    assert layout.inward == ((0, 1), (2, 1), (3, 1))
    assert layout.bones == ((0, 1), (1, 1), (2, 1), (3, 1))
    assert layout.limbs == ((1, 0), (1, 2), (1, 3))
    assert (layout.mirrored, layout.mirrored_limbs) == ((0, 1, 3, 2), (0, 2, 1))


def test_edges_may_close_a_ring():
    layout = layout_from_edges(4, [[0, 1], [1, 2], [2, 3], [3, 0]])
    assert layout.bones == ((0, 0), (1, 0), (2, 1), (3, 0))


def test_a_layout_passes_through():
    assert find_layout(LAYOUTS["coco"]) is LAYOUTS["coco"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("coca", "no skeleton layout 'coca'; did you mean 'coco'"),
        ("hand", "no skeleton layout 'hand'; there are coco, openpose, nturgb\\+d, kinect20, msr20, or a table"),
        ({"edges": [[0, 1]]}, "a table needs num_keypoints"),
        (
            {"num_keypoints": 2, "edges": [[0, 1]], "centre": 1},
            "no key 'centre'; there are num_keypoints, edges, center",
        ),
        ({"num_keypoints": 2, "edges": [[0, 2]]}, "edges: keypoint 2 does not exist; there are 0 to 1"),
        ({"num_keypoints": 2, "edges": [[0, -1]]}, "edges: keypoint -1 does not exist"),
        ({"num_keypoints": 2, "edges": [[0, 1.0]]}, r"edges: keypoint 1\.0 does not exist"),
        ({"num_keypoints": 2, "edges": [[0, True]]}, "edges: keypoint True does not exist"),
        ({"num_keypoints": 2, "edges": [[0, 0]]}, r"edges: \[0, 0\] joins a keypoint with itself"),
        ({"num_keypoints": 2, "edges": [[0, 1], [1, 0]]}, r"edges: \[1, 0\] is there twice"),
        ({"num_keypoints": 2, "edges": [[0, 1, 1]]}, r"edges: \[0, 1, 1\] is not a pair"),
        ({"num_keypoints": 2, "edges": "01"}, "edges must be a list of pairs"),
        ({"num_keypoints": 4, "edges": [[0, 1], [2, 3]]}, "no way leads from keypoint 2 to the centre 0; add an edge"),
        ({"num_keypoints": 2, "edges": [[0, 1]], "center": 2}, "center: keypoint 2 does not exist"),
        ({"num_keypoints": 2, "edges": [[0, 1]], "left": [0]}, r"left \(\[0\]\) and right \(\[\]\) must name as many"),
        ({"num_keypoints": 2, "edges": [[0, 1]], "left": [0], "right": [0]}, "each once"),
        ({"num_keypoints": 2, "edges": [[0, 1]], "left": [3], "right": [0]}, "left: keypoint 3 does not exist"),
        (
            {"num_keypoints": 3, "edges": [[0, 1], [1, 2]], "left": 1, "right": 2},
            "left must be a list of keypoints, not 1",
        ),
        (
            {"num_keypoints": 2, "edges": [[0, 1]], "left": [0], "right": "1"},
            "right must be a list of keypoints, not '1'",
        ),
        ({"num_keypoints": 2, "edges": [[0, 1]], "left": {}}, "left must be a list of keypoints, not {}"),
        ({"num_keypoints": 2, "edges": [[0, 1]], "limbs": [[0, 5]]}, "limbs: keypoint 5 does not exist"),
        ({"num_keypoints": 0, "edges": []}, r"num_keypoints \(0\) must be a positive number"),
        ({"num_keypoints": "3", "edges": []}, r"num_keypoints \('3'\) must be a positive number"),
    ],
)
def test_what_is_no_layout_is_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        find_layout(spec)


def test_bones_of_a_written_layout_start_at_every_keypoint_in_order():
    with pytest.raises(ValueError, match=r"bones must start at the keypoints 0 \.\. 1 in order"):
        SkeletonLayout(name="x", num_keypoints=2, center=0, inward=((1, 0),), bones=((1, 0), (0, 0)))


REFERENCE = json.loads((Path(__file__).parents[2] / "data/parity/ops/graphs.json").read_text())
PAIRS = {case["inputs"]["dataset"]: dict(case["outputs"]["pairs"]) for case in REFERENCE if "pairs" in case["outputs"]}


@pytest.mark.parametrize("name", ["coco", "openpose", "nturgb+d"])
def test_bones_equal_the_reference(name):
    assert dict(LAYOUTS[name].bones) == PAIRS[name]
