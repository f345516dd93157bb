"""Pipelines of all kinds: ``kind`` in a pipeline's table tells which; without it, it is a clip pipeline."""

from typing import Annotated, Any

from pydantic import Discriminator, Tag

from vidflow.config.audio import AudioPipeline
from vidflow.config.pipeline import ClipPipeline
from vidflow.config.rgb_pose import RGBPosePipeline
from vidflow.config.skeleton import SkeletonPipeline


def _kind(value: Any) -> Any:
    if isinstance(value, dict):
        return value.get("kind", "clip")
    return getattr(value, "kind", None)


Pipeline = Annotated[
    Annotated[ClipPipeline, Tag("clip")]
    | Annotated[SkeletonPipeline, Tag("skeleton")]
    | Annotated[AudioPipeline, Tag("audio")]
    | Annotated[RGBPosePipeline, Tag("rgb_pose")],
    Discriminator(_kind),
]
