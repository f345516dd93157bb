"""TSN over any image model of timm, by its name; needs the extra ``vidflow[timm]``.

Source: timm is PyTorch Image Models (github.com/huggingface/pytorch-image-models), version 1.0 or later. Weights come
from a file (``model.load_from``), in timm's names; nothing is downloaded.

Shapes: see ``vidflow.models.frame_recognizer``.
"""

from dataclasses import dataclass, field, fields
from typing import Any

from torch import Tensor, nn

from vidflow.errors import ConfigError, MissingExtraError
from vidflow.models.frame_recognizer import fold_frames
from vidflow.models.heads.consensus import ConsensusHead
from vidflow.models.recognizer import Recognizer, RecognizerConfig
from vidflow.models.registry import suggest
from vidflow.models.weights.keys import MMACTION_CLASSIFIER_KEYS


@dataclass(frozen=True, kw_only=True)
class TimmConfig(RecognizerConfig):
    """The image model beside the shared options."""

    timm_name: str
    """Such as ``convnext_tiny``."""
    timm_options: dict[str, Any] = field(default_factory=dict)
    """Further arguments of ``timm.create_model``, such as ``{img_size = 256}``."""
    dropout: float = 0.4


def image_model(name: str, *, in_channels: int, options: dict[str, Any]) -> nn.Module:
    """A timm model without weights that gives one vector for each frame.

    Raises:
        MissingExtraError: timm is not installed.
        ConfigError: it cannot be imported, has no such model, or refuses an option.
    """
    try:
        import timm
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"model 'timm:{name}' needs timm; pip install 'vidflow[timm]'") from error
    except (ImportError, OSError, RuntimeError) as error:  # such as a torchvision that was built for another torch
        raise ConfigError(f"model 'timm:{name}': timm is installed, but cannot be imported ({error})") from error
    if not timm.is_model(name):
        known = timm.list_models()
        near = suggest(name, known)
        raise ConfigError(f"timm has no model {name!r}. {near if near.startswith('Did') else f'It has {len(known)}'}")
    try:
        model: nn.Module = timm.create_model(name, pretrained=False, num_classes=0, in_chans=in_channels, **options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"model 'timm:{name}': {error}") from error
    return model


class TimmTSN(Recognizer):
    """Image model, average over frames, dropout, linear layer."""

    foreign_keys = MMACTION_CLASSIFIER_KEYS  # the backbone's names are timm's in MMAction2's files too
    config: TimmConfig

    def __init__(self, config: TimmConfig) -> None:
        super().__init__(config)
        backbone: Any = image_model(config.timm_name, in_channels=config.in_channels, options=config.timm_options)
        self.backbone: nn.Module = backbone
        width = int(getattr(backbone, "head_hidden_size", backbone.num_features))
        self.head = ConsensusHead(width, config.num_classes, average="features", dropout=config.dropout, init_std=0.01)

    def logits(self, clips: Tensor) -> Tensor:
        """[B, V, C, T, H, W], normalised -> class scores [B, V, K] before softmax or sigmoid.

        Raises:
            ValueError: clips of another shape.
        """
        self.check_clips(clips)
        features = self.backbone(fold_frames(clips, channels_last=False))  # [B*V*T, D]
        return self.head(features[:, :, None, None], clips.shape[3]).unflatten(0, clips.shape[:2])


def timm_tsn(*, num_classes: int, multi_label: bool = False, **options: Any) -> TimmTSN:
    """The model of the name ``timm:NAME``; ``options`` are fields of ``TimmConfig``.

    Raises:
        ConfigError: no such model or option, or a value that does not fit.
    """
    known = [entry.name for entry in fields(TimmConfig)]
    for option in options:
        if option not in known:
            raise ConfigError(f"a timm model has no option {option!r}. {suggest(option, known)}")
    try:
        config = TimmConfig(num_classes=num_classes, multi_label=multi_label, **options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"model 'timm:{options.get('timm_name')}': {error}") from error
    return TimmTSN(config)
