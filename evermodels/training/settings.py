"""The sections of a recipe, each a checked frozen dataclass."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from evermodels.core.config import Config
from evermodels.core.errors import ConfigError

_MOST_PROCESSES = 1024


@dataclass(frozen=True)
class ModelSettings(Config):
    """Which model is trained.

    Args:
        architecture: Name in the registry.
        config: Values that differ from the preset's.
        pretrained: A checkpoint (name or folder) to start from instead of random weights; excludes ``config``.
    """

    architecture: str = "ever_tiny"
    config: Mapping[str, Any] = field(default_factory=dict)
    pretrained: str | None = None

    def check(self) -> None:
        """Refuse a config on top of a checkpoint, which brings its own, and values that are no plain JSON."""
        try:
            json.dumps(self.config, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(
                f"ModelSettings.config: expected numbers, texts, lists and mappings ({error})."
            ) from error
        if self.pretrained is not None and self.config:
            raise self.refuse("pretrained", "nothing beside model.config (a checkpoint brings its own config)")


@dataclass(frozen=True)
class LearningRates(Config):
    """Peak learning rate of each parameter group (EVER, A.2: MAE encoder 1e-4, Mamba 2e-4; the rest is a choice).

    Args:
        video_encoder: Of the parameters under ``video_encoder.``.
        eeg_encoder: Of the parameters under ``eeg_encoder.``.
        rest: Of all others: projections, fusion, heads.
    """

    video_encoder: float = 1e-4
    eeg_encoder: float = 2e-4
    rest: float = 2e-4

    def check(self) -> None:
        """Refuse negative rates."""
        for key in ("video_encoder", "eeg_encoder", "rest"):
            if getattr(self, key) < 0:
                raise self.refuse(key, "0 (frozen) or more")


@dataclass(frozen=True)
class OptimSettings(Config):
    """How it is trained: AdamW with cosine annealing and warm restarts (EVER, section 4.1 and A.2).

    Args:
        epochs: Passes over the training part.
        batch_size: Samples per step; the last smaller batch of an epoch is left out.
        lr: Peak learning rates.
        weight_decay: Decoupled decay; norms, biases, tokens, position tables and scan states have none (a choice).
        betas: AdamW's β (A.2).
        eps: AdamW's ε (A.2).
        warmup_epochs: Epochs of linear warm-up from a hundredth of the rate (a choice).
        restart_epochs: Length of the first cosine period, in epochs; ``None``: one period over all that is left.
        restart_mult: Factor from one period to the next.
        min_lr: Rate at the end of a period.
        grad_clip: Largest gradient norm, or ``None``.
        label_smoothing: Of the cross-entropy.
        ema_decay: Decay of an exponential moving average of the weights, which is then what is evaluated and kept.
        mixup_alpha: Both parameters of the Beta distribution of mixup, or ``None`` for no mixup.
        mixed_precision: As accelerate takes it.
        num_threads: CPU threads of torch; ``None`` leaves them as they are (``OMP_NUM_THREADS``).
    """

    epochs: int = 30
    batch_size: int = 16
    lr: LearningRates = field(default_factory=LearningRates)
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    warmup_epochs: float = 1.0
    restart_epochs: float | None = None
    restart_mult: int = 1
    min_lr: float = 0.0
    grad_clip: float | None = 1.0
    label_smoothing: float = 0.0
    ema_decay: float | None = None
    mixup_alpha: float | None = None
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    num_threads: int | None = None

    def check(self) -> None:
        """Refuse impossible values."""
        for key in ("epochs", "batch_size", "restart_mult"):
            if getattr(self, key) < 1:
                raise self.refuse(key, "at least 1")
        for key in ("weight_decay", "warmup_epochs", "min_lr"):
            if getattr(self, key) < 0:
                raise self.refuse(key, "0 or more")
        for key in ("restart_epochs", "grad_clip", "mixup_alpha"):
            value = getattr(self, key)
            if value is not None and value <= 0:
                raise self.refuse(key, "a positive number, or none")
        if not 0 <= self.label_smoothing < 1:
            raise self.refuse("label_smoothing", "a number in [0, 1)")
        if self.eps <= 0:
            raise self.refuse("eps", "a positive number")
        if not all(0 <= b < 1 for b in self.betas):
            raise self.refuse("betas", "two numbers in [0, 1)")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise self.refuse("ema_decay", "a number between 0 and 1, or none")
        if self.num_threads is not None and not 1 <= self.num_threads <= _MOST_PROCESSES:
            raise self.refuse("num_threads", f"1 to {_MOST_PROCESSES}, or none")


@dataclass(frozen=True)
class LossSettings(Config):
    """EVER's loss, eq. 18 (weights from section 4.1; γ and β are the design's choice).

    Args:
        w_ce: Weight of the class-balanced cross-entropy.
        w_focal: Weight of the focal loss.
        gamma: Exponent of the focal loss.
        beta: β of the effective number of samples (Cui et al., 2019).
        factor: For a modality that can know only one factor of the data set's classes the factor's name: the loss then
            looks at probabilities summed over the others. ``None``: the classes.
        consistency: Weight of the difference between the answers to two readings of a training sample
            (:func:`~evermodels.training.objective.disagreement`), where the data set gives two.
    """

    w_ce: float = 0.9
    w_focal: float = 0.1
    gamma: float = 2.0
    beta: float = 0.999
    factor: str | None = None
    consistency: float = 0.0

    def check(self) -> None:
        """Refuse negative weights and a β outside [0, 1)."""
        for key in ("w_ce", "w_focal", "gamma", "consistency"):
            if getattr(self, key) < 0:
                raise self.refuse(key, "0 or more")
        if not 0 <= self.beta < 1:
            raise self.refuse("beta", "a number in [0, 1)")


@dataclass(frozen=True)
class ComparisonSettings(Config):
    """What the differences between rows are held against.

    Args:
        margin: Difference that would not matter, stated before it is seen: two rows are called equal only where the
            whole interval of their difference lies inside it.
    """

    margin: float = 0.05

    def check(self) -> None:
        """Refuse a margin that no interval, or any, could lie in."""
        if not 0 < self.margin < 1:
            raise self.refuse("margin", "a number between 0 and 1")


@dataclass(frozen=True)
class SelectionSettings(Config):
    """How the epoch is chosen: always on the validation people, never on the test people.

    Args:
        metric: What is largest (``"nll"``: smallest) in the epoch that is kept, the earliest of equals; one of the
            numbers of :func:`~evermodels.training.summarize`, among them the data set's own scores.
        every: Validate every so many epochs, and after the last.
    """

    metric: str = "uar"
    every: int = 1

    def check(self) -> None:
        """Refuse a step below one epoch."""
        if self.every < 1:
            raise self.refuse("every", "at least 1")
