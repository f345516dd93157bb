"""ActionCLIP: CLIP whose frame features pass a small temporal transformer; classes are told by their names.

Source: "ActionCLIP: A New Paradigm for Video Action Recognition" (arXiv:2109.08472), section 3, with the temporal
transformer "Transf" of section 3.3. The prompts, the factor of 100 in prediction and the parameter names are those of
MMAction2, projects/actionclip. A class's name is put into several prompts; prediction averages their probabilities. So
a trained model classifies by any other names (``name_classes``), without training.

Shapes: B samples, V views, C channels, T frames, H x W pixels, P prompts, K classes, E width of the common space.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidflow.batch import Batch
from vidflow.clip_tokenizer import VOCABULARY_SHA256, VOCABULARY_URL, ClipTokenizer
from vidflow.errors import ConfigError, WeightsError
from vidflow.models.backbones.clip import CLIPS, Clip, ClipConfig, refit_positions
from vidflow.models.frame_recognizer import fold_frames
from vidflow.models.layers.clip_transformer import Transformer
from vidflow.models.recognizer import Recognizer, RecognizerConfig
from vidflow.models.registry import MODELS
from vidflow.models.views import in_pieces
from vidflow.models.weights.keys import ACTIONCLIP_KEYS
from vidflow.models.weights.source import fetch
from vidflow.predictions import ClassPredictions

# MMAction2, projects/actionclip/models/actionclip.py: text_prompt.
PROMPTS = (
    "a photo of action {}",
    "a picture of action {}",
    "Human action of {}",
    "{}, an action",
    "{} this is an action",
    "{}, a video of action",
    "Playing action of {}",
    "{}",
    "Playing a kind of action, {}",
    "Doing a kind of action, {}",
    "Look, the human is {}",
    "Can you recognize the action of {}?",
    "Video classification of {}",
    "A video of {}",
    "The man is {}",
    "The woman is {}",
)
_SCALE = 100.0
_TEXTS_AT_ONCE = 256
_STORED_SIZES = ("clip.input_resolution", "clip.context_length", "clip.vocab_size")


@dataclass(frozen=True, kw_only=True)
class ActionClipConfig(RecognizerConfig):
    """CLIP, the temporal transformer and the texts beside the shared options."""

    clip: ClipConfig
    dropout: float = 0.0
    num_frames: int = 8
    """Longest clip that has positions, T."""
    adapter_depth: int = 6
    """Layers of the temporal transformer."""
    activation_checkpointing: bool = False
    """Blocks compute their activations again in the backward pass instead of keeping them."""
    class_names: Sequence[str] = ()
    """In the order of the labels; by default those of the data set."""
    prompts: Sequence[str] = PROMPTS
    """Sentences with {} for a class's name, P."""
    vocabulary: str = VOCABULARY_URL
    """File of CLIP's word parts: a path, or an address that is downloaded once."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.multi_label or self.dropout or self.label_smoothing:
            raise ValueError("ActionCLIP has neither multi_label nor dropout nor label_smoothing")
        if self.class_names and len(self.class_names) != self.num_classes:
            raise ValueError(f"class_names has {len(self.class_names)} names for {self.num_classes} classes")
        if not self.prompts or any("{}" not in prompt for prompt in self.prompts):
            raise ValueError(f"prompts must each hold {{}}, the place of a class's name, not {list(self.prompts)}")


class TemporalTransformer(nn.Module):
    """Frame features [N, T, E] -> clip features [N, E]: what the frames tell each other, added to their mean."""

    def __init__(self, width: int, heads: int, *, num_frames: int, depth: int) -> None:
        super().__init__()
        self.frame_position_embeddings = nn.Embedding(num_frames, width)
        self.transformer = Transformer(width, depth, heads)
        nn.init.normal_(self.frame_position_embeddings.weight, std=0.02)

    def forward(self, frames: Tensor) -> Tensor:
        """[N, T, E] -> [N, E]."""
        positions = self.frame_position_embeddings.weight[: frames.shape[1]]
        mixed: Tensor = self.transformer(frames + positions) + frames
        return mixed.mean(dim=1)


def _version(parameter: Tensor) -> int:
    """Changes when the parameter is written to."""
    return 0 if parameter.is_inference() else parameter._version


class ActionClip(Recognizer):
    """Cosines of clip features and texts; a class is the texts of its prompts."""

    head_prefixes = ()
    fresh_prefixes = ("adapter.",)
    foreign_keys = ACTIONCLIP_KEYS
    option_shapes: ClassVar[dict[str, tuple[str, int]]] = {
        "num_frames": ("adapter.frame_position_embeddings.weight", 0),
    }

    def __init__(self, config: ActionClipConfig) -> None:
        super().__init__(config)
        self.config: ActionClipConfig = config
        self.class_names = tuple(config.class_names)
        self.clip = Clip(config.clip, in_channels=config.in_channels, recompute=config.activation_checkpointing)
        self.adapter = TemporalTransformer(
            config.clip.embed, config.clip.text_heads, num_frames=config.num_frames, depth=config.adapter_depth
        )
        self._tokens: Tensor | None = None
        self._texts: Tensor | None = None
        self._texts_state: tuple[object, ...] = ()

    def adapt_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of a file by our names, without the sizes that CLIP's authors store among them; positions fit this
        model's frames."""
        adapted = {name: tensor for name, tensor in tensors.items() if name not in _STORED_SIZES}
        positions = "clip.visual.positional_embedding"
        if positions in tensors:
            adapted[positions] = refit_positions(tensors[positions], self.clip.visual.positional_embedding)
        return adapted

    def name_classes(self, names: Sequence[str]) -> None:
        """Classify by these names from now on."""
        self.class_names, self.num_classes = tuple(names), len(names)
        self._tokens = self._texts = None

    def train(self, mode: bool = True) -> Self:
        """Training mode; text features of the weights so far are forgotten."""
        self._texts = None
        return super().train(mode)

    def tokens(self) -> Tensor:
        """int64 [P, K, L] on the host.

        Raises:
            ConfigError: the classes have no names.
            WeightsError: the vocabulary cannot be had.
        """
        if not self.class_names:
            raise ConfigError("ActionCLIP needs the names of its classes; give model.options.class_names")
        if self._tokens is None:
            source = self.config.vocabulary
            tokenizer = ClipTokenizer(fetch(source, sha256=VOCABULARY_SHA256 if source == VOCABULARY_URL else None))
            if tokenizer.vocabulary != self.config.clip.vocabulary:
                raise WeightsError(
                    f"{source}: makes {tokenizer.vocabulary} tokens, and the model has {self.config.clip.vocabulary}"
                )
            names = [name.replace("_", " ") for name in self.class_names]
            texts = [prompt.replace("{}", name) for prompt in self.config.prompts for name in names]
            encoded = torch.from_numpy(tokenizer.encode(texts, context=self.config.clip.context))
            self._tokens = encoded.unflatten(0, (len(self.config.prompts), -1))
        return self._tokens

    def text_features(self) -> Tensor:
        """Unit vectors [P, K, E] of all prompts and classes, of the weights as they are.

        Outside of training they are kept until the weights change; an exported model has those of its last prediction.
        """
        weight = self.clip.text_projection
        if weight.is_meta:
            # Without memory there are shapes only; texts are encoded once and cost a view nothing.
            return weight.new_empty(len(self.config.prompts), self.num_classes, weight.shape[1])
        state = (weight.device, weight.dtype, *map(_version, (weight, self.clip.token_embedding.weight)))
        kept = torch.compiler.is_exporting() or self._texts_state == state
        if self._texts is None or not kept:
            tokens = self.tokens()
            pieces = tokens.flatten(0, 1).split(_TEXTS_AT_ONCE)
            with torch.no_grad():
                encoded = [self.clip.encode_text(piece.to(weight.device)) for piece in pieces]
            features = functional.normalize(torch.cat(encoded), dim=-1).unflatten(0, tokens.shape[:2])
            if self.training:
                return features
            self._texts, self._texts_state = features.to(weight.dtype), state
        return self._texts

    def clip_features(self, clips: Tensor) -> Tensor:
        """[B, V, C, T, H, W], normalised -> unit vectors [B, V, E].

        Raises:
            ValueError: clips of another shape, or of more frames than ``num_frames``.
        """
        self.check_clips(clips)
        num_frames = clips.shape[3]
        if num_frames > self.config.num_frames:
            raise ValueError(f"clips of {num_frames} frames for a model of num_frames = {self.config.num_frames}")
        frames = self.clip.encode_image(fold_frames(clips, channels_last=False))
        features = self.adapter(frames.unflatten(0, (-1, num_frames)))  # [B*V*T, E] -> [B*V, E]
        return functional.normalize(features, dim=-1).unflatten(0, clips.shape[:2])

    def prompt_logits(self, clips: Tensor) -> Tensor:
        """[B, V, C, T, H, W] -> 100 times the cosines [B, V, P, K]."""
        scores = torch.einsum("bve,pke->bvpk", _SCALE * self.clip_features(clips), self.text_features())
        return scores.to(torch.promote_types(scores.dtype, torch.float32))

    def logits(self, clips: Tensor) -> Tensor:
        """[B, V, C, T, H, W], normalised -> class scores [B, V, K], the mean over prompts."""
        return self.prompt_logits(clips).mean(dim=2)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """``clip_to_text_loss`` and ``text_to_clip_loss``, each half of the sum.

        Each clip meets the texts of all clips of the batch on this process, with one prompt drawn for each; clips and
        texts of one class belong together. The loss is the Kullback-Leibler divergence of the softmax over a row of
        similarities from that of 10 for a pair of one class and 0 for others: section 3.2, equation 3, with the
        factor of the authors' code, utils/KLLoss.py.

        Raises:
            ValueError: labels that are not int64 [B].
        """
        labels = batch.labels
        if labels.ndim != 1 or labels.is_floating_point():
            raise ValueError(
                f"labels must be integer of shape [{len(batch)}], not {labels.dtype} {list(labels.shape)}; leave "
                "mixing out"
            )
        clips = self.clip_features(batch.clips)
        V = clips.shape[1]
        tokens = self.tokens()
        prompts = torch.randint(len(tokens), (len(labels),))
        texts = self.clip.encode_text(tokens[prompts, labels.cpu()].to(labels.device))
        texts = functional.normalize(texts, dim=-1).repeat_interleave(V, dim=0)
        labels = labels.repeat_interleave(V)
        similarity = self.clip.logit_scale.exp() * clips.flatten(0, 1) @ texts.T  # [B*V, B*V]
        similarity = similarity.to(torch.promote_types(similarity.dtype, torch.float32))
        target = (10.0 * (labels[:, None] == labels)).to(similarity.dtype).softmax(dim=1)

        def divergence(rows: Tensor) -> Tensor:
            return functional.kl_div(rows.log_softmax(dim=1), target, reduction="batchmean")

        return {"clip_to_text_loss": divergence(similarity) / 2, "text_to_clip_loss": divergence(similarity.T) / 2}

    @torch.no_grad()
    def predict(self, batch: Batch) -> ClassPredictions:
        """Probabilities [B, K], averaged over views and prompts; call ``eval()`` first."""
        scores = in_pieces(self.prompt_logits, batch.clips, self.config.max_views)
        if self.config.average_views == "score":
            scores = scores.mean(dim=1, keepdim=True)
        return ClassPredictions(scores.softmax(dim=-1).mean(dim=(1, 2)).float())


# MMAction2, projects/actionclip/configs; "tiny" is ours, for small frames on a CPU.
VARIANTS = {
    "actionclip-tiny": ActionClipConfig(
        clip=ClipConfig(
            embed=32,
            image_width=48,
            image_depth=2,
            image_heads=3,
            patch=8,
            size=32,
            text_width=32,
            text_depth=2,
            text_heads=2,
        ),
        adapter_depth=1,
    ),
    "actionclip-b32": ActionClipConfig(clip=CLIPS["b32"]),
    "actionclip-b16": ActionClipConfig(clip=CLIPS["b16"]),
}
for _name, _config in VARIANTS.items():
    MODELS.add(_name, _config, ActionClip)
