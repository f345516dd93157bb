"""Sound: networks of images over log-mel spectrograms.

Source: MMAction2 1.2.0, configs/recognition_audio: ``audio-r18`` is its tsn_r18 (a plain ResNet-18 with one input
channel), ``audioonly-r50`` its audioonly_r50, the network of sound of "Audiovisual SlowFast Networks"
(arXiv:2001.08740).

Shapes: B samples, V views, T frames, F bands, K classes.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from vidflow.models.backbones.resnet import RESNETS, ResNet, ResNetConfig
from vidflow.models.backbones.resnet_audio import AUDIO_RESNETS, AudioResNet, AudioResNetConfig
from vidflow.models.heads.consensus import ConsensusHead
from vidflow.models.recognizer import Recognizer, RecognizerConfig
from vidflow.models.registry import MODELS
from vidflow.models.weights.keys import RESNET_2D_KEYS, RESNET_AUDIO_KEYS


@dataclass(frozen=True, kw_only=True)
class AudioRecognizerConfig(RecognizerConfig):
    """Options of the networks of sound beside those of every recognizer."""

    backbone: ResNetConfig | AudioResNetConfig
    in_channels: int = 1
    """Kinds of spectrogram that lie upon each other; the pipeline gives one."""
    frozen_stages: int = -1
    """-1 none, 0 the first convolution, k also stages 1..k of the backbone stay as they are."""
    norm_eval: bool = False
    """BatchNorm keeps its stored statistics in training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not -1 <= self.frozen_stages <= self.backbone.num_stages:
            raise ValueError(f"frozen_stages ({self.frozen_stages}) must lie in [-1, {self.backbone.num_stages}]")


class AudioRecognizer(Recognizer):
    """2D backbone, average over time and frequency, dropout, linear layer."""

    input_name = "mel"
    foreign_keys = RESNET_AUDIO_KEYS + RESNET_2D_KEYS
    foreign_config_mark = r"type='(?:RecognizerAudio|AudioRecognizer)'"
    option_shapes: ClassVar[dict[str, tuple[str, int]]] = {"num_classes": ("head.fc.bias", 0)}

    def __init__(self, config: AudioRecognizerConfig) -> None:
        super().__init__(config)
        options: dict[str, Any] = {
            "in_channels": config.in_channels,
            "frozen_stages": config.frozen_stages,
            "norm_eval": config.norm_eval,
        }
        if isinstance(config.backbone, AudioResNetConfig):
            self.backbone: ResNet | AudioResNet = AudioResNet(config.backbone, **options)
        else:
            self.backbone = ResNet(config.backbone, **options)
        self.head = ConsensusHead(
            config.backbone.out_channels, config.num_classes, average="features", dropout=config.dropout, init_std=0.01
        )

    def logits(self, mel: Tensor) -> Tensor:
        """[B, V, C, T, F] -> class scores [B, V, K] before softmax or sigmoid.

        Raises:
            ValueError: features of another shape.
        """
        channels = self.config.in_channels
        if mel.ndim != 5 or mel.shape[2] != channels:
            raise ValueError(f"mel features must be [B, V, {channels}, T, F], not {list(mel.shape)}")
        features = self.backbone(mel.flatten(0, 1), 1)  # [B, V, C, T, F] -> [B*V, D, t, f]
        return self.head(features, 1).unflatten(0, mel.shape[:2])  # [B*V, K] -> [B, V, K]


# "tiny" is ours, for small sets on a CPU.
VARIANTS = {
    "audio-tiny": AudioRecognizerConfig(
        backbone=ResNetConfig(block="basic", blocks=(1, 1, 1, 1), width=16, stem="3x3"), dropout=0.2
    ),
    **{f"audio-r{depth}": AudioRecognizerConfig(backbone=RESNETS[depth]) for depth in ("18", "50")},
    "audioonly-r50": AudioRecognizerConfig(backbone=AUDIO_RESNETS["50"]),
}
for _name, _config in VARIANTS.items():
    MODELS.add(_name, _config, AudioRecognizer)
