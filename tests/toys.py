"""Systems and backbones of other modalities than EVER's: they join by their rows of the registry alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import nn

from evermodels.backbones.base import Backbone
from evermodels.core import registry
from evermodels.core.config import Config
from evermodels.core.errors import check_axes
from evermodels.core.kinds import KINDS
from evermodels.core.outputs import EmotionOutput
from evermodels.core.specs import AudioSpec, EEGFeatures, EEGSpec, EyeSpec, InputSpec
from evermodels.losses import EmotionLoss
from evermodels.models.system import System
from evermodels.models.system_config import EncoderConfig, LossConfig, SystemConfig


@dataclass(frozen=True)
class ToyConfig(Config):
    shape: tuple[int, ...] = (4, 6)
    width: int = 5
    num_classes: int = 0


class ToyBackbone(Backbone):
    """One linear layer over whatever comes; a subclass for each kind of tensor."""

    config_class = ToyConfig

    def __init__(self, config):
        super().__init__(config)
        self.proj = nn.Linear(math.prod(config.shape), config.width)
        self.head = self.make_head()

    @classmethod
    def sizes_for(cls, shape):
        return {"shape": tuple(shape)}

    @property
    def sample_shape(self):
        return self.config.shape

    @property
    def embed_dim(self):
        return self.config.width

    def forward_features(self, x):
        axes = KINDS[self.input].axes
        check_axes(self.input, x, f"batch {' '.join(axes)}", **dict(zip(axes, self.config.shape, strict=True)))
        return self.proj(x.flatten(1)).tanh()[:, None]


SHAPES = {kind: tuple(range(2, 2 + len(row.axes))) for kind, row in KINDS.items()}
BACKBONES = {
    f"toy_{kind}": type(
        f"Toy{kind.title().replace('_', '')}",
        (ToyBackbone,),
        {"input": kind, "presets": {f"toy_{kind}": ToyConfig(shape=SHAPES[kind])}, "__module__": __name__},
    )
    for kind in KINDS
}
globals().update({cls.__name__: cls for cls in BACKBONES.values()})

SPEC = InputSpec(
    window_seconds=1.0,
    audio=AudioSpec(sfreq=1600.0, n_mels=16, frame_seconds=0.1, hop_seconds=0.05),
    eye=EyeSpec(features=("pupil_mean", "blink_rate"), seconds=0.5),
)


@dataclass(frozen=True)
class ToySystemConfig(SystemConfig):
    num_classes: int = 3
    input_spec: InputSpec = SPEC
    encoders: Mapping[str, EncoderConfig] = field(
        default_factory=lambda: {"audio": EncoderConfig("toy_log_mel"), "eye": EncoderConfig("toy_eye")}
    )
    dim: int = 6


@dataclass(frozen=True)
class ToyLossConfig(LossConfig):
    gamma: float = 2.0


class ToySystem(System):
    """The mean of two embeddings, weighed by attention; learned tokens for what is absent."""

    config_class = ToySystemConfig
    loss_config_class: ClassVar = ToyLossConfig
    presets: ClassVar = {"toy_system": ToySystemConfig()}

    def __init__(self, config):
        super().__init__(config)
        self.build_encoders(config.dim)
        self.absent = nn.ParameterDict({m: nn.Parameter(torch.randn(config.dim)) for m in self.modalities})
        self.score = nn.Linear(config.dim, 1, bias=False)
        self.head = self.make_head()

    @property
    def embed_dim(self):
        return self.config.dim

    def build_loss(self, loss, **options):
        return EmotionLoss(gamma=loss.gamma, **options)

    def forward(self, audio=None, eye=None, *, present=None, masks=None):
        return self.fused({"audio": audio, "eye": eye}, present, masks)

    def fused(self, inputs, present, masks):
        given = self.given(inputs, present, masks)
        embeddings = {m: self.encode(m, x.to(self.dtype), given) for m, x in given.inputs.items()}
        flags, size = self.hide(given), next(iter(embeddings.values())).shape[0]
        tokens = []
        for m in self.modalities:
            token = self.absent[m].expand(size, -1)
            if m in embeddings:
                token = embeddings[m] if flags is None else torch.where(flags[m][:, None], embeddings[m], token)
            tokens.append(token)
        stacked = torch.stack(tokens, dim=1)
        weights = self.score(stacked).softmax(dim=1)
        embedding = (weights * stacked).sum(dim=1)
        return EmotionOutput(self.classified(embedding), embedding, embeddings, {"modalities": weights[..., 0]})


FEATURES = EEGSpec(ch_names=("Fz", "Cz", "Pz"), sfreq=100.0, features=EEGFeatures(bands=((1.0, 4.0), (4.0, 8.0))))
THREE = SPEC.replace(eeg=FEATURES)


@dataclass(frozen=True)
class ToyThreeConfig(ToySystemConfig):
    input_spec: InputSpec = THREE
    encoders: Mapping[str, EncoderConfig] = field(
        default_factory=lambda: {
            "eeg": EncoderConfig("toy_features"),
            "audio": EncoderConfig("toy_log_mel"),
            "eye": EncoderConfig("toy_eye"),
        }
    )


class ToyThree(ToySystem):
    """Three modalities, one of them features of EEG, aligned in pairs."""

    config_class = ToyThreeConfig
    presets: ClassVar = {"toy_three": ToyThreeConfig()}

    def build_loss(self, loss, **options):
        return EmotionLoss(gamma=loss.gamma, alignment="correlation", **options)

    def forward(self, eeg=None, audio=None, eye=None, *, present=None, masks=None):
        return self.fused({"eeg": eeg, "audio": audio, "eye": eye}, present, masks)


ROWS = {
    **{
        name: registry.ModelEntry("backbone", (cls.input,), __name__, cls.__name__, "for tests")
        for name, cls in BACKBONES.items()
    },
    "toy_system": registry.ModelEntry("system", ("audio", "eye"), __name__, "ToySystem", "for tests"),
    "toy_three": registry.ModelEntry("system", ("eeg", "audio", "eye"), __name__, "ToyThree", "for tests"),
}

SYSTEMS = [name for name, row in ROWS.items() if row.kind == "system"]


def register(monkeypatch) -> None:
    """Enter the toys into the registry."""
    for name, row in ROWS.items():
        monkeypatch.setitem(registry.MODELS, name, row)


def shallow(name: str, **changes: Any) -> dict[str, Any]:
    """Return the values that make a model of the registry quick to compile: one block where there are several."""
    config = registry.model_class(name).presets[name]
    if hasattr(config, "depths"):
        return {"depths": (1,) * len(config.depths), **changes}
    own: dict[str, Any] = {"depth": 1} if hasattr(config, "depth") else {}
    if hasattr(config, "example_frames"):
        own |= {"example_frames": 16, "example_hop": 16}  # as short as the toys' sounds
    encoders = {m: (e.config, shallow(e.name)) for m, e in getattr(config, "encoders", {}).items()}
    if deep := {m: {"config": {**values, **less}} for m, (values, less) in encoders.items() if less}:
        own["encoders"] = deep
    return {**own, **changes}


def smallest(kind: str) -> list[str]:
    """The first name of each family of the registry, which is its smallest, and the toys of a kind."""
    first: dict[str, str] = {}
    for name, row in registry.MODELS.items():
        if row.kind == kind:
            first.setdefault(row.class_name, name)
    return [*first.values(), *(name for name, row in ROWS.items() if row.kind == kind)]
