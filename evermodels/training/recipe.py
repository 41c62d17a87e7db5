"""Recipes: one TOML file says what is trained on what, how, and which rows its tables have."""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from evermodels.core.config import Config
from evermodels.core.errors import ConfigError, UnknownNameError, did_you_mean

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


_SECTIONS = ("data", "model", "optim", "loss", "selection")


@dataclass(frozen=True)
class Augmentation(Config):
    """Random changes of the EEG in training; 0 switches one off (:mod:`evermodels.datasets.augment`).

    Args:
        amplitude_scale: Log-normal σ of one factor for all channels.
        channel_gain: Log-normal σ of a factor for each channel.
        channel_dropout: Probability that a channel is zeroed.
        gaussian_noise: Standard deviation of white noise over the channel's.
        band_noise: Standard deviation of narrow-band noise over the channel's.
        time_flip: Probability that the window is played backwards.
        polarity_flip: Probability that its sign is changed.
    """

    amplitude_scale: float = 0.0
    channel_gain: float = 0.0
    channel_dropout: float = 0.0
    gaussian_noise: float = 0.0
    band_noise: float = 0.0
    time_flip: float = 0.0
    polarity_flip: float = 0.0

    def check(self) -> None:
        """Refuse negative strengths and impossible probabilities."""
        for key in ("amplitude_scale", "channel_gain", "gaussian_noise", "band_noise"):
            if getattr(self, key) < 0:
                raise self.refuse(key, "0 or more")
        for key in ("channel_dropout", "time_flip", "polarity_flip"):
            if not 0 <= getattr(self, key) <= 1:
                raise self.refuse(key, "a probability")


@dataclass(frozen=True)
class DataSettings(Config):
    """What is trained on. Channels, rates, lengths and sizes come from the model's input spec.

    Args:
        dataset: Name in the closed table of :mod:`evermodels.training.data`.
        length: Training items of an epoch; ``None``: four for each arithmetic window.
        flip: Whether half of the training clips are mirrored.
        crossfade: How many of the clips begin with the other expression.
        pairing_seed: Seed of the fixed pairing of the validation and test parts; the same for every row and seed.
        augment: Changes of the EEG in training.
        num_workers: Processes that load training batches; 0 loads in the training process.
    """

    dataset: Literal["quadrant_pairs"] = "quadrant_pairs"
    length: int | None = None
    flip: bool = True
    crossfade: float = 0.5
    pairing_seed: int = 0
    augment: Augmentation = field(default_factory=Augmentation)
    num_workers: int = 0

    def check(self) -> None:
        """Refuse impossible values."""
        if self.num_workers < 0:
            raise self.refuse("num_workers", "0 or more")
        if not 0 <= self.crossfade <= 1:
            raise self.refuse("crossfade", "a probability")
        if self.length is not None and (self.length < 4 or self.length % 4):
            raise self.refuse("length", "a positive multiple of 4, or none")


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
        """Refuse a config on top of a checkpoint, which brings its own."""
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
        modality_dropout: Probability that a training sample has one of its modalities, drawn evenly, marked absent.
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
    modality_dropout: float = 0.0
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
        for key in ("label_smoothing", "modality_dropout"):
            if not 0 <= getattr(self, key) < 1:
                raise self.refuse(key, "a number in [0, 1)")
        if self.eps <= 0:
            raise self.refuse("eps", "a positive number")
        if not all(0 <= b < 1 for b in self.betas):
            raise self.refuse("betas", "two numbers in [0, 1)")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise self.refuse("ema_decay", "a number between 0 and 1, or none")
        if self.num_threads is not None and self.num_threads < 1:
            raise self.refuse("num_threads", "at least 1, or none")


@dataclass(frozen=True)
class LossSettings(Config):
    """EVER's loss, eq. 18 (weights from section 4.1; γ and β are the design's choice).

    Args:
        w_ce: Weight of the class-balanced cross-entropy.
        w_focal: Weight of the focal loss.
        gamma: Exponent of the focal loss.
        beta: β of the effective number of samples (Cui et al., 2019).
    """

    w_ce: float = 0.9
    w_focal: float = 0.1
    gamma: float = 2.0
    beta: float = 0.999

    def check(self) -> None:
        """Refuse negative weights and a β outside [0, 1)."""
        for key in ("w_ce", "w_focal", "gamma"):
            if getattr(self, key) < 0:
                raise self.refuse(key, "0 or more")
        if not 0 <= self.beta < 1:
            raise self.refuse("beta", "a number in [0, 1)")


@dataclass(frozen=True)
class SelectionSettings(Config):
    """How the epoch is chosen: always on the validation people, never on the test people.

    Args:
        metric: What is largest (``"nll"``: smallest) in the epoch that is kept; the earliest of equals.
        every: Validate every so many epochs, and after the last.
    """

    metric: Literal["uar", "accuracy", "weighted_f1", "arousal", "valence", "halves", "nll"] = "uar"
    every: int = 1

    def check(self) -> None:
        """Refuse a step below one epoch."""
        if self.every < 1:
            raise self.refuse("every", "at least 1")


@dataclass(frozen=True)
class Row(Config):
    """One row of a table: the recipe with a few values changed.

    Args:
        name: Its name, also of its run folders.
        table: The paper's table that it belongs to.
        title: How the table calls it (default: the name).
        overrides: Changed values, nested as in the recipe.
        init_from: Earlier rows whose encoder weights it starts from, by modality; the encoder is taken whole.
    """

    name: str
    table: int
    title: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    init_from: Mapping[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """Refuse names that cannot name a folder, and encoders that do not exist."""
        if not self.name or not all(c.isalnum() or c in "_-" for c in self.name):
            raise self.refuse("name", "letters, digits, - and _")
        for modality in self.init_from:
            if modality not in ("eeg", "video"):
                raise ConfigError(f"Row.init_from: unknown modality {modality!r}. Allowed: eeg, video.")
        for key in self.overrides:
            if key not in _SECTIONS:
                raise ConfigError(
                    f"Row {self.name!r}: overrides has no section {key!r}.{did_you_mean(key, _SECTIONS)} "
                    f"Allowed: {', '.join(_SECTIONS)}."
                )


@dataclass(frozen=True)
class Recipe(Config):
    """A whole training: data, model, optimiser, loss, selection of the epoch, and the rows of its tables.

    Args:
        name: The recipe's name.
        description: What it trains and what its numbers mean.
        full: The row that is the full model, against which the others are compared; ``None`` without rows.
        data: What is trained on.
        model: Which model is trained.
        optim: How.
        loss: With which loss.
        selection: How the epoch is chosen.
        rows: The rows of its tables.
    """

    name: str
    description: str = ""
    full: str | None = None
    data: DataSettings = field(default_factory=DataSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    optim: OptimSettings = field(default_factory=OptimSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    selection: SelectionSettings = field(default_factory=SelectionSettings)
    rows: tuple[Row, ...] = ()

    def check(self) -> None:
        """Refuse doubled rows, rows that start from later ones, and rows whose overrides do not fit."""
        seen: list[str] = []
        for row in self.rows:
            if row.name in seen:
                raise ConfigError(f"Recipe.rows: the name {row.name!r} occurs twice. Give each row its own.")
            for source in row.init_from.values():
                if source not in seen:
                    raise ConfigError(
                        f"Recipe.rows: {row.name!r} starts from {source!r}, which is not an earlier row. "
                        f"Earlier rows: {', '.join(seen) or 'none'}."
                    )
            seen.append(row.name)
            self._apply(row)
        if self.full is not None and self.full not in seen:
            raise self.refuse("full", f"one of the rows ({', '.join(seen) or 'none'})")

    def row(self, name: str | None) -> Row | None:
        """Return a row by name; ``None`` gives the full model's row, or ``None`` in a recipe without one.

        Raises:
            UnknownNameError: If there is no such row.
        """
        name = self.full if name is None else name
        if name is None:
            return None
        names = [row.name for row in self.rows]
        if name not in names:
            raise UnknownNameError(
                f"row: recipe {self.name!r} has no {name!r}.{did_you_mean(name, names)} "
                f"It has: {', '.join(names) or 'none'}."
            )
        return self.rows[names.index(name)]

    def for_row(self, name: str | None) -> Recipe:
        """Return the recipe of one row: its overrides applied, without the list of rows.

        Args:
            name: The row's name; ``None`` for the full model.

        Raises:
            UnknownNameError: If there is no such row.
        """
        row = self.row(name)
        return self.replace(full=None, rows=()) if row is None else self._apply(row)

    def _apply(self, row: Row) -> Recipe:
        plain = {k: v for k, v in self.to_dict().items() if k not in ("rows", "full")}
        return Recipe.from_dict(_merge(plain, row.overrides), where=f"Recipe row {row.name!r}")

    def digest(self) -> str:
        """Return the sha256 of all that decides a result: data, model, optimiser, loss, selection."""
        plain = {key: value for key, value in self.to_dict().items() if key in _SECTIONS}
        plain["data"].pop("num_workers")
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def list_recipes() -> list[str]:
    """Return the names of the recipes that come with the package.

    Example:
        >>> "ever_tiny_quadrant" in list_recipes()
        True
    """
    folder = importlib.resources.files("evermodels.training") / "recipes"
    return sorted(p.name[: -len(".toml")] for p in folder.iterdir() if p.name.endswith(".toml"))


def parse_override(text: str) -> tuple[tuple[str, ...], Any]:
    """Split ``"optim.epochs=3"`` into its path and its value.

    Args:
        text: ``key=value``; the value is read as TOML, else as a bare string; ``none`` means ``None``.

    Returns:
        The key's path and the value.

    Raises:
        ConfigError: If there is no ``=`` or no key.

    Example:
        >>> parse_override("optim.lr.rest=1e-3")
        (('optim', 'lr', 'rest'), 0.001)
        >>> parse_override("model.architecture=ever_small")
        (('model', 'architecture'), 'ever_small')
    """
    key, equals, value = text.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not equals or not all(path):
        raise ConfigError(f"override: expected key=value such as optim.epochs=3, got {text!r}.")
    if value.strip().lower() == "none":
        return path, None
    try:
        return path, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return path, value.strip()


def load_recipe(name_or_path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Load a recipe, with some values changed.

    Args:
        name_or_path: Name of a recipe that comes with the package, or a path to a ``.toml`` file.
        overrides: Changes such as ``"optim.epochs=3"``; they come before the rows' own overrides.

    Returns:
        The checked, frozen recipe.

    Raises:
        UnknownNameError: If there is no such recipe.
        ConfigError: If the file is not TOML, or a key, type or value does not fit.

    Example:
        >>> load_recipe("ever_tiny_quadrant", ["optim.epochs=3"]).optim.epochs
        3
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith(".toml"):
        path = Path(name_or_path)
        if not path.is_file():
            raise UnknownNameError(f"recipe: there is no file {text!r}. Recipes by name: {', '.join(list_recipes())}.")
        source = path.read_text(encoding="utf-8")
    else:
        known = list_recipes()
        if text not in known:
            raise UnknownNameError(
                f"recipe: {text!r} does not exist.{did_you_mean(text, known)} By name: {', '.join(known)}; "
                "or give the path of a .toml file."
            )
        source = (importlib.resources.files("evermodels.training") / "recipes" / f"{text}.toml").read_text("utf-8")
    try:
        plain: dict[str, Any] = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"recipe {text!r}: not a TOML file ({error}).") from error
    for override in overrides:
        keys, value = parse_override(override)
        change: Any = value
        for key in reversed(keys):
            change = {key: change}
        plain = _merge(plain, change)
    return Recipe.from_dict(plain, where=f"recipe {text!r}")
