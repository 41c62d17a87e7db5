"""The sections of a recipe, each a checked frozen dataclass."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from typing_extensions import Self

from evermodels.core.config import Config
from evermodels.core.errors import ConfigError

_MOST_PROCESSES = 1024


def check_plain(where: str, value: Any) -> None:
    """Refuse what is no plain JSON.

    Args:
        where: A name for the message.
        value: The value.

    Raises:
        ConfigError: If it is none.
    """
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: expected numbers, texts, lists and mappings ({error}).") from error


@dataclass(frozen=True)
class ModelSettings(Config):
    """Which model is trained.

    Args:
        architecture: Name in the registry.
        config: Values that differ from the preset's.
        pretrained: A checkpoint (name or folder) to start from instead of random weights; excludes ``config``.
        num_classes: With a checkpoint: another number of classes, with a fresh head (default: its own).
        ch_names: With a checkpoint: channels of the recordings, where they are others than the model's.
        encoders_from: Checkpoints (names or folders) that encoders start from, by modality; each is taken whole.
    """

    architecture: str = "ever_tiny"
    config: Mapping[str, Any] = field(default_factory=dict)
    pretrained: str | None = None
    num_classes: int | None = None
    ch_names: str | tuple[str, ...] | None = None
    encoders_from: Mapping[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """Refuse a config on top of a checkpoint, which brings its own, and values that are no plain JSON."""
        check_plain("ModelSettings.config", self.config)
        if self.pretrained is not None and self.config:
            raise self.refuse("pretrained", "nothing beside model.config (a checkpoint brings its own config)")
        for key in ("num_classes", "ch_names"):
            if self.pretrained is None and getattr(self, key) is not None:
                raise self.refuse(key, "None without a checkpoint; give model.config")


@dataclass(frozen=True)
class OptimSettings(Config):
    """How it is trained: AdamW with cosine annealing and warm restarts (EVER, section 4.1 and A.2).

    Args:
        epochs: Passes over the training part.
        batch_size: Samples per step; the last smaller batch of an epoch is left out.
        lr: Peak learning rates by sub-module: any prefix of a parameter's name, such as ``eeg_encoder``, the longest
            that fits; ``rest`` for all others (default: 2e-4, EVER A.2). 0 freezes: a sub-module named so keeps its
            weights and running statistics, and has no dropout.
        weight_decay: Decoupled decay; norms, biases, tokens, position tables and scan states have none (a choice).
        betas: AdamW's β (A.2).
        eps: AdamW's ε (A.2).
        warmup_epochs: Epochs of linear warm-up from a hundredth of the rate (a choice).
        restart_epochs: Length of the first cosine period, in epochs; ``None``: one period over all that is left.
        restart_mult: Factor from one period to the next.
        min_lr: Rate at the end of a period.
        grad_clip: Largest gradient norm, or ``None``.
        ema_decay: Decay of an exponential moving average of the weights, which is then what is evaluated and kept.
        mixup_alpha: Both parameters of the Beta distribution of mixup, or ``None`` for no mixup.
        mixed_precision: As accelerate takes it.
        num_threads: CPU threads of torch; ``None`` leaves them as they are (``OMP_NUM_THREADS``).
    """

    epochs: int = 30
    batch_size: int = 16
    lr: Mapping[str, float] = field(default_factory=dict)
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    warmup_epochs: float = 1.0
    restart_epochs: float | None = None
    restart_mult: int = 1
    min_lr: float = 0.0
    grad_clip: float | None = 1.0
    ema_decay: float | None = None
    mixup_alpha: float | None = None
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    num_threads: int | None = None

    def check(self) -> None:
        """Refuse impossible values."""
        object.__setattr__(self, "lr", {**self.lr, "rest": self.lr.get("rest", 2e-4)})
        for key, rate in self.lr.items():
            if rate < 0 or 0 < rate < self.min_lr:
                raise ConfigError(f"OptimSettings.lr.{key}: expected 0 (frozen), or at least min_lr, got {rate!r}.")
        self.at_least(1, "epochs", "batch_size", "restart_mult")
        for key in ("weight_decay", "warmup_epochs", "min_lr"):
            if getattr(self, key) < 0:
                raise self.refuse(key, "0 or more")
        for key in ("restart_epochs", "grad_clip", "mixup_alpha"):
            value = getattr(self, key)
            if value is not None and value <= 0:
                raise self.refuse(key, "a positive number, or none")
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
    """With which loss: the model's own, by values that the model's ``loss_config_class`` checks.

    Args:
        factor: For a modality that can know only one factor of the data set's classes the factor's name: the loss then
            looks at probabilities summed over the others. ``None``: the classes.
        consistency: Weight of the difference between the answers to two readings of a training sample
            (:func:`~evermodels.training.objective.disagreement`), where the data set gives two.
        values: Values of the model's loss; in a recipe they stand beside the others.

    Example:
        >>> LossSettings.from_dict({"factor": "state", "gamma": 1.0}).values
        {'gamma': 1.0}
    """

    factor: str | None = None
    consistency: float = 0.0
    values: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Refuse a negative weight, and values that are no plain JSON."""
        if self.consistency < 0:
            raise self.refuse("consistency", "0 or more")
        check_plain("LossSettings.values", self.values)

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any], *, where: str | None = None) -> Self:
        """Build the settings; what is not known here is the model's.

        Args:
            mapping: Values by key.
            where: A name for the messages.

        Raises:
            ConfigError: For a wrong type or an impossible value.
        """
        if not isinstance(mapping, Mapping) or not isinstance(mapping.get("values", {}), Mapping):
            return super().from_dict(mapping, where=where)
        own = {key: mapping[key] for key in ("factor", "consistency") if key in mapping}
        rest = {key: value for key, value in mapping.items() if key not in (*own, "values")}
        return super().from_dict({**own, "values": {**mapping.get("values", {}), **rest}}, where=where)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON types, as they stand in a recipe."""
        plain = super().to_dict()
        return {**plain.pop("values"), **plain}


@dataclass(frozen=True)
class ComparisonSettings(Config):
    """What the differences between rows are held against.

    Args:
        margin: Difference that would not matter, stated before it is seen: two rows are called equal only where the
            whole interval of their difference lies inside it.
        late_fusion: Rows whose log-probabilities are summed to a row of their own in each table; without them the rows
            from whose encoders a fusion starts are.
    """

    margin: float = 0.05
    late_fusion: tuple[str, ...] = ()

    def check(self) -> None:
        """Refuse a margin that no interval, or any, could lie in."""
        if not 0 < self.margin < 1:
            raise self.refuse("margin", "a number between 0 and 1")


@dataclass(frozen=True)
class SelectionSettings(Config):
    """How the epoch is chosen: on the validation people or not at all, never on the test people.

    Args:
        metric: What is largest (``"nll"``, ``"loss"``: smallest) in the epoch that is kept, the earliest of equals; one
            of the numbers of :func:`~evermodels.training.summarize`, among them the data set's own scores, or
            ``"loss"``, the recipe's own loss, for a row that trains no classifier. ``"last"`` keeps the last epoch, and
            then the validation part may be empty, so that everybody who is not tested trains.
        every: Validate every so many epochs, and after the last.
    """

    metric: str = "uar"
    every: int = 1

    def check(self) -> None:
        """Refuse a step below one epoch."""
        self.at_least(1, "every")
