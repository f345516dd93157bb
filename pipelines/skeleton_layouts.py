"""Whether a sample's keypoints are those of a pipeline's layout."""

from vidflow.config.fields import LayoutName
from vidflow.schema import SkeletonInfo
from vidflow.skeletons.layouts import SkeletonLayout


def layout_problem(spec: LayoutName | None, layout: SkeletonLayout, info: SkeletonInfo) -> str:
    """Why a sample does not fit the layout, or nothing.

    Args:
        spec: what the config says; a name stands for keypoints in a known order, a table for any.
        layout: the one that ``spec`` means, or that of the sample.
    """
    if layout.num_keypoints != info.num_keypoints:
        return f"has {info.num_keypoints} keypoints, layout {layout.name!r} has {layout.num_keypoints}"
    if isinstance(spec, str) and info.layout not in (spec, "custom"):
        # As many keypoints in another order: every bone would join the wrong ones.
        return (
            f"is packed with layout {info.layout!r}, the pipeline's is {spec!r}; give the one that the keypoints have"
        )
    return ""
