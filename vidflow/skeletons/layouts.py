"""Skeleton layouts: which keypoints there are, how they hang together, which one mirrors which.

Sources: edges, centres and bones of "coco", "openpose" and "nturgb+d" and the limbs of "coco" as in MMAction2 1.2.0
(mmaction/models/utils/graph.py, datasets/transforms/pose_transforms.py). "nturgb+d" is Kinect v2's skeleton
(arXiv:1604.02808, figure 1), "kinect20" Kinect v1's in its SDK's order, and "msr20" the same keypoints in the order of
MSR-Action3D's files; there the side of the waving arm is the right one, as the data set's actors were asked to use it
("Action Recognition Based on a Bag of 3D Points", CVPR Workshops 2010, section 4).
"""

import difflib
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

Pair = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class SkeletonLayout:
    """Keypoints 0 .. K-1 and what joins them.

    Raises:
        ValueError: a keypoint that does not exist, or sides of different size.
    """

    name: str
    num_keypoints: int
    """K."""
    center: int
    """The keypoint from which distances are counted."""
    inward: tuple[Pair, ...]
    """Edges (i, j), where j lies nearer to the centre."""
    bones: tuple[Pair, ...]
    """For each keypoint i in order (i, j): its bone is keypoint i minus keypoint j; (i, i) where it has none."""
    left: tuple[int, ...] = ()
    right: tuple[int, ...] = ()
    """Keypoint ``left[n]`` mirrors ``right[n]``; those in neither lie in the middle."""
    limbs: tuple[Pair, ...] = ()
    """Pairs that are drawn as lines, in the order of the channels of limb heatmaps; the edges by default."""

    def __post_init__(self) -> None:
        if self.num_keypoints < 1:
            raise ValueError(f"num_keypoints ({self.num_keypoints}) must be positive")
        if not self.limbs:
            object.__setattr__(self, "limbs", tuple((j, i) for i, j in self.inward))
        _check_points("center", [self.center], self.num_keypoints)
        for name in ("inward", "bones", "limbs"):
            _check_points(name, (point for pair in getattr(self, name) for point in pair), self.num_keypoints)
        for name in ("left", "right"):
            _check_points(name, getattr(self, name), self.num_keypoints)
        if [start for start, _ in self.bones] != list(range(self.num_keypoints)):
            raise ValueError(f"bones must start at the keypoints 0 .. {self.num_keypoints - 1} in order")
        both = [*self.left, *self.right]
        if len(self.left) != len(self.right) or len(set(both)) != len(both):
            raise ValueError(
                f"left ({list(self.left)}) and right ({list(self.right)}) must name as many keypoints, each once"
            )

    @cached_property
    def mirrored(self) -> tuple[int, ...]:
        """For each keypoint the one that stands in its place after left and right are swapped.

        >>> LAYOUTS["coco"].mirrored[:5]
        (0, 2, 1, 4, 3)
        """
        order = list(range(self.num_keypoints))
        for a, b in zip(self.left, self.right, strict=True):
            order[a], order[b] = b, a
        return tuple(order)

    @cached_property
    def mirrored_limbs(self) -> tuple[int, ...]:
        """For each limb the one that stands in its place after left and right are swapped; itself where none does."""
        place = {frozenset(pair): n for n, pair in enumerate(self.limbs)}
        ends = [frozenset(self.mirrored[point] for point in pair) for pair in self.limbs]
        return tuple(place.get(pair, n) for n, pair in enumerate(ends))


def _check_points(name: str, points: Iterable[int], num_keypoints: int) -> None:
    for point in points:
        if isinstance(point, bool) or not isinstance(point, int) or not 0 <= point < num_keypoints:
            raise ValueError(f"{name}: keypoint {point!r} does not exist; there are 0 to {num_keypoints - 1}")


def _points(name: str, values: Any) -> tuple[int, ...]:
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise ValueError(f"{name} must be a list of keypoints, not {values!r}")
    return tuple(values)


def _pairs(name: str, values: Any) -> tuple[Pair, ...]:
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise ValueError(f"{name} must be a list of pairs of keypoints, not {values!r}")
    for value in values:
        if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != 2:
            raise ValueError(f"{name}: {value!r} is not a pair of keypoints, such as [1, 0]")
    return tuple((value[0], value[1]) for value in values)


def hops_from(start: int, edges: Iterable[Pair], num_keypoints: int) -> list[int | None]:
    """Number of edges on the shortest way from a keypoint to each, in either direction; None where there is no way.

    >>> hops_from(0, [(1, 0), (2, 1)], 4)
    [0, 1, 2, None]
    """
    neighbours: list[list[int]] = [[] for _ in range(num_keypoints)]
    for i, j in edges:
        neighbours[i].append(j)
        neighbours[j].append(i)
    hops: list[int | None] = [None] * num_keypoints
    hops[start] = 0
    waiting = deque([(start, 0)])
    while waiting:
        point, distance = waiting.popleft()
        for neighbour in neighbours[point]:
            if hops[neighbour] is None:
                hops[neighbour] = distance + 1
                waiting.append((neighbour, distance + 1))
    return hops


def layout_from_edges(
    num_keypoints: int,
    edges: Sequence[Sequence[int]],
    *,
    center: int = 0,
    left: Sequence[int] = (),
    right: Sequence[int] = (),
    limbs: Sequence[Sequence[int]] = (),
    name: str = "custom",
) -> SkeletonLayout:
    """A layout of one's own; the bone of a keypoint leads to its first neighbour on a shortest way to the centre.

    >>> layout = layout_from_edges(4, [[0, 1], [1, 2], [3, 1]])
    >>> layout.inward, layout.bones
    (((1, 0), (2, 1), (3, 1)), ((0, 0), (1, 0), (2, 1), (3, 1)))

    Args:
        num_keypoints: K.
        edges: pairs in any direction; they must join all keypoints into one graph.
        left, right: ``left[n]`` mirrors ``right[n]``.
        limbs: pairs to draw, the edges by default.

    Raises:
        ValueError: keypoints that do not exist, an edge of a keypoint with itself or given twice, or keypoints that no
            edge joins to the others.
    """
    pairs = _pairs("edges", edges)
    if isinstance(num_keypoints, bool) or not isinstance(num_keypoints, int) or num_keypoints < 1:
        raise ValueError(f"num_keypoints ({num_keypoints!r}) must be a positive number")
    _check_points("edges", (point for pair in pairs for point in pair), num_keypoints)
    _check_points("center", [center], num_keypoints)
    seen: set[frozenset[int]] = set()
    for pair in pairs:
        if pair[0] == pair[1]:
            raise ValueError(f"edges: {list(pair)} joins a keypoint with itself")
        if frozenset(pair) in seen:
            raise ValueError(f"edges: {list(pair)} is there twice")
        seen.add(frozenset(pair))
    hops = hops_from(center, pairs, num_keypoints)
    if alone := [point for point, distance in enumerate(hops) if distance is None]:
        raise ValueError(f"edges: no way leads from keypoint {alone[0]} to the centre {center}; add an edge")
    distances = [distance or 0 for distance in hops]
    inward = tuple((i, j) if distances[j] <= distances[i] else (j, i) for i, j in pairs)
    parents = list(range(num_keypoints))
    for i, j in reversed(inward):
        if distances[j] < distances[i]:
            parents[i] = j
    return SkeletonLayout(
        name=name,
        num_keypoints=num_keypoints,
        center=center,
        inward=inward,
        bones=tuple(enumerate(parents)),
        left=_points("left", left),
        right=_points("right", right),
        limbs=_pairs("limbs", limbs),
    )


def _edges(text: str) -> tuple[Pair, ...]:
    """
    >>> _edges("1-0 2-1")
    ((1, 0), (2, 1))
    """
    return tuple((int(start), int(end)) for start, end in (pair.split("-") for pair in text.split()))


_COCO = SkeletonLayout(
    name="coco",
    num_keypoints=17,
    center=0,
    inward=_edges("15-13 13-11 16-14 14-12 11-5 12-6 9-7 7-5 10-8 8-6 5-0 6-0 1-0 3-1 2-0 4-2"),
    bones=_edges("0-0 1-0 2-0 3-1 4-2 5-0 6-0 7-5 8-6 9-7 10-8 11-0 12-0 13-11 14-12 15-13 16-14"),
    limbs=_edges("0-1 0-2 1-3 2-4 0-5 5-7 7-9 0-6 6-8 8-10 5-11 11-13 13-15 6-12 12-14 14-16 11-12"),
    left=(1, 3, 5, 7, 9, 11, 13, 15),
    right=(2, 4, 6, 8, 10, 12, 14, 16),
)
_OPENPOSE = SkeletonLayout(
    name="openpose",
    num_keypoints=18,
    center=1,
    inward=_edges("4-3 3-2 7-6 6-5 13-12 12-11 10-9 9-8 11-5 8-2 5-1 2-1 0-1 15-0 14-0 17-15 16-14"),
    bones=_edges("0-0 1-0 2-1 3-2 4-3 5-1 6-5 7-6 8-2 9-8 10-9 11-5 12-11 13-12 14-0 15-0 16-14 17-15"),
    left=(5, 6, 7, 11, 12, 13, 15, 17),
    right=(2, 3, 4, 8, 9, 10, 14, 16),
)
_NTU_ARMS_AND_LEGS = "4-20 5-4 6-5 7-6 8-20 9-8 10-9 11-10 12-0 13-12 14-13 15-14 16-0 17-16 18-17 19-18"
_NTU = SkeletonLayout(
    name="nturgb+d",
    num_keypoints=25,
    center=20,
    inward=_edges(f"0-1 1-20 2-20 3-2 {_NTU_ARMS_AND_LEGS} 21-7 22-7 23-11 24-11"),
    # The tip of a hand hangs on its thumb here, other than in the graph.
    bones=_edges(f"0-1 1-20 2-20 3-2 {_NTU_ARMS_AND_LEGS} 20-20 21-22 22-7 23-24 24-11"),
    left=(4, 5, 6, 7, 12, 13, 14, 15, 21, 22),
    right=(8, 9, 10, 11, 16, 17, 18, 19, 23, 24),
)
# Hip centre, spine, shoulder centre, head; then arm, arm, leg, leg of four keypoints each, the left ones first.
_KINECT = layout_from_edges(
    20,
    _edges("1-0 2-1 3-2 4-2 5-4 6-5 7-6 8-2 9-8 10-9 11-10 12-0 13-12 14-13 15-14 16-0 17-16 18-17 19-18"),
    center=2,
    left=(4, 5, 6, 7, 12, 13, 14, 15),
    right=(8, 9, 10, 11, 16, 17, 18, 19),
    name="kinect20",
)
# Shoulders 0 and 1, shoulder centre 2, spine 3, hips 4 and 5, hip centre 6; elbows, wrists and hands 7 to 12, knees,
# ankles and feet 13 to 18, left and right in turn; head 19.
_MSR = layout_from_edges(
    20,
    _edges("19-2 0-2 1-2 3-2 6-3 4-6 5-6 7-0 8-1 9-7 10-8 11-9 12-10 13-4 14-5 15-13 16-14 17-15 18-16"),
    center=2,
    left=(0, 4, 7, 9, 11, 13, 15, 17),
    right=(1, 5, 8, 10, 12, 14, 16, 18),
    name="msr20",
)
LAYOUTS: dict[str, SkeletonLayout] = {layout.name: layout for layout in (_COCO, _OPENPOSE, _NTU, _KINECT, _MSR)}


def check_sides(option: str, spec: str | Mapping[str, Any]) -> None:
    """See that a config's layout says which keypoints change places in a mirror: a name does, a table with ``left`` and
    ``right``, which may be empty where all keypoints lie in the middle.

    Args:
        option: what mirrors, for the message.

    Raises:
        ValueError: it does not.
    """
    if not isinstance(spec, str) and not {"left", "right"} <= spec.keys():
        raise ValueError(
            f"{option}: layout does not say which keypoints change places; give its left and right, both [] where all "
            "lie in the middle"
        )


def find_layout(spec: str | Mapping[str, Any] | SkeletonLayout) -> SkeletonLayout:
    """The layout that a config means: a name of ``LAYOUTS``, or a table with the arguments of ``layout_from_edges``.

    >>> find_layout("coco").num_keypoints
    17
    >>> find_layout({"num_keypoints": 3, "edges": [[1, 0], [2, 0]]}).bones
    ((0, 0), (1, 0), (2, 0))

    Raises:
        ValueError: no such name, or a table that does not fit.
    """
    if isinstance(spec, SkeletonLayout):
        return spec
    if isinstance(spec, str):
        if spec not in LAYOUTS:
            near = difflib.get_close_matches(spec, LAYOUTS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(LAYOUTS)}, or a table with edges"
            raise ValueError(f"no skeleton layout {spec!r}; {hint}")
        return LAYOUTS[spec]
    needed, known = ("num_keypoints", "edges"), ("num_keypoints", "edges", "center", "left", "right", "limbs")
    if missing := [key for key in needed if key not in spec]:
        raise ValueError(f"layout: a table needs {', '.join(missing)}")
    if unknown := sorted(set(spec) - set(known)):
        raise ValueError(f"layout: no key {unknown[0]!r}; there are {', '.join(known)}")
    return layout_from_edges(**spec)
