"""What video transformers share: their options beside those of every recognizer."""

from dataclasses import dataclass

from vidflow.models.recognizer import RecognizerConfig


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(RecognizerConfig):
    """Options of a transformer on clips."""

    drop_path: float = 0.0
    """Rate of the last block's branches, see ``vidflow.models.layers.drop_path``; it rises evenly from 0."""
    activation_checkpointing: bool = False
    """Compute the blocks' activations again in the backward pass: less memory, about a third more time."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.drop_path < 1:
            raise ValueError(f"drop_path ({self.drop_path}) must lie in [0, 1)")
