"""What every system shares: its recordings, encoders, presence, montage, statistics, learning-rate groups."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from evermodels.backbones.base import Backbone
from evermodels.core import registry
from evermodels.core.errors import (
    ConfigError,
    ShapeError,
    SignalError,
    UnknownNameError,
    check_axes,
    quoted,
)
from evermodels.core.kinds import KINDS
from evermodels.core.presence import presence, zero_absent
from evermodels.core.specs import InputSpec
from evermodels.functional import class_balanced_weights
from evermodels.layers import FeatureNorm, MontageAdapter
from evermodels.losses import EmotionLoss
from evermodels.models.system_config import EncoderConfig, LossConfig, SystemConfig
from evermodels.models.transfer import Transfer


class Given(NamedTuple):
    """A batch that was checked.

    Args:
        inputs: Tensors by modality, zeros where a sample has none.
        present: ``(batch,)`` bool by modality, or ``None`` where every sample has all.
        masks: Valid frames, ``(batch, frames)`` bool, of modalities that came with a mask.
    """

    inputs: dict[str, Tensor]
    present: dict[str, Tensor] | None
    masks: dict[str, Tensor]

    def here(self, modality: str) -> Tensor | None:
        """Return which samples have a modality, or ``None`` for all.

        Args:
            modality: Its name.
        """
        return None if self.present is None else self.present[modality]


class System(Transfer, abc.ABC):
    """A whole recogniser: encoders by modality, and a fusion that each subclass brings.

    A subclass sets ``config_class`` (a :class:`SystemConfig`) and ``loss_config_class``, builds its encoders with
    :meth:`build_encoders`, says its :attr:`embed_dim`, makes ``self.head = self.make_head()``, and defines ``forward``
    with its own modalities by keyword, then ``*, present=None, masks=None``; :meth:`given` checks them, :meth:`encode`
    runs one encoder, :meth:`hide` does modality dropout, :meth:`classified` gives the logits.

    Attributes:
        check_values: Whether NaN and infinities are refused in eager mode.
        regions: Channel indices by region name, where the model groups its channels; else empty.

    Raises:
        ConfigError: If an encoder does not fit its modality.
    """

    config: Any
    loss_config_class: ClassVar[type[LossConfig]]
    loss_options: ClassVar[tuple[str, ...]] = ("class_weights",)
    """What :meth:`make_loss` takes beside the values of ``loss_config_class``."""
    masked: tuple[str, ...] = ()
    """Modalities for which ``masks`` are taken: valid frames, ``(batch, frames)`` bool.

    What the other frames hold matters to nothing, and a sample without a valid frame counts as one without that
    modality, as with ``present=False``. Sound is the exception (:attr:`heard`): its masks leave out silence too, which
    is part of what is heard, so that a sample of silence alone is there and read whole.
    """
    heard: ClassVar[tuple[str, ...]] = ("audio",)
    """Modalities whose masks mark what is silent."""
    head: nn.Module | None

    def __init__(self, config: SystemConfig) -> None:
        super().__init__(config)
        self.check_values = True
        self.regions: Mapping[str, Sequence[int]] = {}
        if config.source_ch_names is not None:
            self.montage_adapter = MontageAdapter(config.source_ch_names, config.ch_names, min_real=0.0)

    @property
    def input_spec(self) -> InputSpec:
        """What recordings must look like."""
        return self.config.recorded

    @classmethod
    def spec_of(cls, config: Any) -> InputSpec:
        """Return what recordings must look like for a model of this configuration.

        Args:
            config: A configuration of ``config_class``.
        """
        return config.recorded

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the weights."""
        return next(self.parameters()).dtype

    # Head

    @property
    @abc.abstractmethod
    def embed_dim(self) -> int:
        """Width of the fused embedding."""

    def make_head(self) -> nn.Module | None:
        """Return a new classifier of the fused embedding, by default one linear layer; ``None`` without classes."""
        return nn.Linear(self.embed_dim, self.config.num_classes) if self.config.num_classes else None

    def reset_classifier(self, num_classes: int) -> None:
        """Renew the classifier.

        Args:
            num_classes: Number of classes; 0 for the fused embedding alone.

        Raises:
            ConfigError: If it is negative.
        """
        self.config = self.config.replace(num_classes=num_classes)
        self.classes, self.factors = None, ()
        anchor, head = next(self.parameters()), self.make_head()
        self.head = None if head is None else head.to(device=anchor.device, dtype=anchor.dtype).train(self.training)

    def classified(self, embedding: Tensor) -> Tensor:
        """Return the logits of a fused embedding, ``(batch, num_classes)``; none without classes.

        Args:
            embedding: ``(batch, embed_dim)``.
        """
        return embedding.new_zeros(embedding.shape[0], 0) if self.head is None else self.head(embedding)

    # Encoders

    def encoder_shape(self, modality: str, kind: str) -> tuple[int, ...] | None:
        """Return the shape of one sample as a modality's encoder gets it, or ``None`` for a kind that it cannot have.

        Args:
            modality: Its name.
            kind: What the encoder takes. A subclass that makes another kind of it says its shape here.
        """
        spec: InputSpec = self.config.input_spec
        return spec.shape(modality) if kind == spec.of(modality).kind else None

    def build_encoder(self, modality: str) -> Backbone:
        """Build the encoder of a modality without a head, told the size of what it gets.

        Args:
            modality: Its name.

        Raises:
            UnknownNameError: If the encoder is not in the registry.
            ConfigError: If it takes something else, or its configuration repeats a size that follows from the inputs.
        """
        name, where = self.config.encoders[modality].name, f"{type(self.config).__name__}.encoders.{modality}"
        try:
            cls = registry.model_class(name)
        except UnknownNameError as error:
            raise UnknownNameError(f"{where}.name: {error}") from error
        kind: str | None = getattr(cls, "input", None)
        shape = None if kind is None else self.encoder_shape(modality, kind)
        if shape is None:
            own = [k for k in KINDS if modality in KINDS[k].modalities and self.encoder_shape(modality, k) is not None]
            is_other = "a system" if kind is None else f"input {kind!r}"
            raise ConfigError(
                f"{where}.name: expected a backbone whose input is {' or '.join(map(repr, own))}, got {name!r} "
                f"({is_other})."
            )
        sizes, spec = cls.sizes_for(shape), self.config.input_spec.of(modality)
        sizes |= {key: getattr(spec, key) for key in cls.told if hasattr(spec, key)}
        encoder = _built(cls, self.config.encoders[modality], {**sizes, "num_classes": 0}, f"{where}.config")
        # In memory the configuration says what differs from the presets of today, wherever it came from.
        preset, own = cls.presets[name].to_dict(), encoder.config.to_dict()
        differs = {key: own[key] for key in own if own[key] != preset[key] and key not in {*sizes, "num_classes"}}
        brief = {**self.config.encoders, modality: EncoderConfig(name, differs)}
        self.config = dataclasses.replace(self.config, encoders=brief)
        return encoder

    def whole_config(self) -> dict[str, Any]:
        """Return the configuration as a checkpoint holds it, in plain JSON: of each encoder every value too."""
        whole = {
            modality: EncoderConfig(encoder.name, self.encoder(modality).config.to_dict(), whole=True).to_dict()
            for modality, encoder in self.config.encoders.items()
        }
        return {**super().whole_config(), "encoders": whole}

    def build_encoders(self, dim: int | None) -> None:
        """Add ``{modality}_encoder`` and ``{modality}_projection`` for each modality, in their order.

        Args:
            dim: Width to which each embedding is brought by one linear layer, unless it has it; ``None`` for its own.
        """
        for modality in self.modalities:
            encoder = self.build_encoder(modality)
            width = encoder.embed_dim
            self.add_module(f"{modality}_encoder", encoder)
            same = dim is None or dim == width
            self.add_module(f"{modality}_projection", nn.Identity() if same or dim is None else nn.Linear(width, dim))

    def encode(self, modality: str, x: Tensor, given: Given) -> Tensor:
        """Run one encoder and its projection; ``(batch, dim)``, zero where absent, of valid frames where it knows them.

        Args:
            modality: One that is among ``given.inputs``.
            x: What the encoder takes.
            given: The batch.
        """
        encoder, mask = self.encoder(modality), given.masks.get(modality)
        z = encoder(x) if mask is None or not encoder.reads_masks else encoder.forward_valid(x, mask)
        z = getattr(self, f"{modality}_projection")(z)
        return zero_absent(z, given.here(modality))

    # Inputs

    def given(
        self,
        inputs: Mapping[str, Tensor | None],
        present: Mapping[str, Tensor] | None,
        masks: Mapping[str, Tensor] | None,
    ) -> Given:
        """Check a batch: shapes, presence, values; and bring EEG of another headset to the model's channels.

        Args:
            inputs: Every modality of ``forward`` by name.
            present: As ``forward`` takes it.
            masks: As ``forward`` takes it.

        Raises:
            ShapeError: If a shape is wrong or no modality is present.
            SignalError: If a value is not finite (checked in eager mode only).
            ConfigError: If a modality or mask comes that the model does not take.
        """
        takes = " and ".join(self.modalities)
        for name, value in inputs.items():
            if value is not None and name not in self.modalities:
                raise ConfigError(f"{name}: this {type(self).__name__} takes {takes} only. Leave {name!r} out.")
        own = {name: inputs.get(name) for name in self.modalities}
        for name, value in own.items():
            if value is not None:
                self.check_shape(name, value)
        valid = {name: self._checked_mask(name, mask, own.get(name)) for name, mask in (masks or {}).items()}
        for name, mask in valid.items():
            x = own[name]
            if name in self.heard or x is None:
                continue
            own[name] = torch.where(mask.view(*mask.shape, *[1] * (x.ndim - 2)), x, 0)
            flag = (present or {}).get(name)
            if flag is None or (flag.dtype == torch.bool and flag.shape == mask.shape[:1]):  # else presence refuses it
                some = mask.any(dim=1)
                present = {**(present or {}), name: some if flag is None else flag & some}
        flags = presence(own, present)
        clean: dict[str, Tensor] = {}
        for name, value in own.items():
            if value is not None:
                x = zero_absent(value, None if flags is None else flags[name])
                if self.check_values:
                    self._check_finite(name, x)
                clean[name] = self.adapted(x) if name == "eeg" else x
        return Given(clean, flags, valid)

    def _checked_mask(self, modality: str, mask: Tensor, x: Tensor | None) -> Tensor:
        if modality not in self.masked:
            whole = f" Its encoder of {modality} reads a sample as a whole." if modality in type(self).masked else ""
            takes = " and ".join(self.masked) or "none"
            raise ConfigError(f"masks: this {type(self).__name__} takes {takes}, got {modality!r}.{whole}")
        if x is None:
            raise ConfigError(f"masks: of {modality!r} came without {modality}. Leave it out, or give {modality} too.")
        axes = KINDS[self.input_spec.of(modality).kind].axes
        frames = {"frames": x.shape[1]} if axes[0] == "frames" else {}
        check_axes(f"masks[{modality!r}]", mask, "batch frames", batch=x.shape[0], **frames)
        if mask.dtype != torch.bool:
            raise ConfigError(f"masks[{modality!r}]: expected bool, got {mask.dtype}. Convert it with .bool().")
        return mask

    def check_shape(self, modality: str, x: Tensor) -> None:
        """Refuse a batch of another shape than the input spec says.

        Args:
            modality: Its name.
            x: The batch.

        Raises:
            ShapeError: If it does not fit.
        """
        spec: InputSpec = self.input_spec
        axes = KINDS[spec.of(modality).kind].axes
        if modality == "eeg" and spec.eeg is not None and spec.eeg.features is None:
            self.check_channels(x)
        check_axes(modality, x, f"batch {' '.join(axes)}", **dict(zip(axes, spec.shape(modality), strict=True)))

    def check_channels(self, x: Tensor) -> None:
        """Refuse EEG that has not the channels of the input spec.

        Args:
            x: The batch.

        Raises:
            ShapeError: If it is not ``(batch, channels, time)`` of as many channels.
        """
        spec = self.input_spec.eeg
        assert spec is not None  # it takes EEG
        check_axes("eeg", x, "batch channels time")
        if x.shape[1] != len(spec.ch_names):
            raise ShapeError(
                f"eeg: expected (batch, channels, time) with the {len(spec.ch_names)} channels "
                f"{', '.join(spec.ch_names)}, got {x.shape[1]} channels (shape {tuple(x.shape)}). Pick and order them "
                "by name with evermodels.signals.Preprocessor, or carry the model to your channels with "
                "adapt_montage(ch_names)."
            )

    def _check_finite(self, modality: str, x: Tensor) -> None:
        if torch.compiler.is_compiling() or x.is_meta:
            return
        # One pass without a temporary finds any.
        if torch.isfinite(x.sum(dtype=torch.float64 if x.dtype == torch.float64 else torch.float32)):
            return
        bad = ~torch.isfinite(x)
        if not bad.any():
            return
        spec: InputSpec = self.input_spec
        where = ""
        if modality == "eeg" and spec.eeg is not None and spec.eeg.features is None:
            here = bad.any(dim=2).any(dim=0).tolist()
            names = [name for name, wrong in zip(spec.eeg.ch_names, here, strict=True) if wrong]
            where = f", in channels {', '.join(names)}"
        raise SignalError(
            f"{modality}: {int(bad.sum())} values are NaN or infinite{where}. Interpolate or drop that stretch, "
            f'or say that the sample has no {modality} with present={{"{modality}": ...}}.'
        )

    def hide(self, given: Given) -> dict[str, Tensor] | None:
        """Return the presence with one modality of some samples hidden, in training; else the presence as it is.

        Args:
            given: The batch.
        """
        rate, names = self.config.modality_drop_rate, tuple(given.inputs)
        if not (self.training and rate > 0 and len(names) > 1):
            return given.present
        some = given.inputs[names[0]]
        draw = torch.rand(some.shape[0], device=some.device)
        every = torch.ones_like(draw, dtype=torch.bool)
        now = {m: every if given.present is None else given.present[m] for m in self.modalities}
        enough = torch.stack(list(now.values())).sum(dim=0) > 1  # nothing else may be left of a sample
        part = rate / len(names)
        hidden = {m: (draw >= k * part) & (draw < (k + 1) * part) & enough for k, m in enumerate(names)}
        return {m: flag & ~hidden[m] if m in hidden else flag for m, flag in now.items()}

    # Montage

    def adapted(self, eeg: Tensor) -> Tensor:
        """Bring EEG of another headset to the model's channels.

        Args:
            eeg: ``(batch, channels, time)`` of the recordings' channels.
        """
        if self.montage_adapter is None:
            return eeg
        spec = self.config.input_spec.eeg
        eeg = self.montage_adapter(eeg)
        if spec.reference == "average":
            eeg = eeg - eeg.mean(dim=1, keepdim=True)
        if spec.scale == "zscore":
            spread = eeg.std(dim=2, correction=0, keepdim=True)
            eeg = (eeg - eeg.mean(dim=2, keepdim=True)) / torch.where(spread > 0, spread, 1)
        return eeg

    def adapt_montage(self, ch_names: Sequence[str], *, min_real: float = 0.5) -> Mapping[str, str]:
        """Take recordings of another headset from now on: channels by name, missing ones interpolated.

        A :class:`~evermodels.layers.MontageAdapter` comes before the model; no weight changes. ``input_spec`` asks for
        the new channels, so that a :class:`~evermodels.signals.Preprocessor` made afterwards follows, and a saved
        checkpoint keeps them (``config.source_ch_names``). Channels are interpolated in µV: where the config asks for
        an average reference or z-scores, the model makes them afterwards. What a person is compared with (``whiten``)
        is that of the recorded channels, before. The model's own names undo an earlier call.

        Args:
            ch_names: The recording's channels in its order, any spelling; those that the model lacks are of use for
                the interpolation only.
            min_real: Least part of the model's channels that the recording must have, 0 to 1.

        Returns:
            The interpolated channels, each with the channels that weigh most in it.

        Raises:
            ConfigError: If the model takes no EEG signals, fewer than ``min_real`` of its channels are there, or one
                cannot be interpolated.
            UnknownNameError: If a name is unknown, or two mean the same electrode.

        Example:
            >>> import evermodels as em
            >>> model = em.create_model("ever_tiny")
            >>> list(model.adapt_montage(em.montage.preset("epoc")))
            ['Fp1', 'Fp2', 'C3', 'C4', 'P3', 'P4', 'Fz', 'Cz', 'Pz']
            >>> len(model.input_spec.eeg.ch_names), len(model.config.ch_names)
            (14, 19)
        """
        eeg = self.config.input_spec.eeg
        if eeg is None or eeg.features is not None:
            raise ConfigError(f"ch_names: this {type(self).__name__} takes no EEG signals. Leave it out.")
        adapter = MontageAdapter(ch_names, self.config.ch_names, min_real=min_real)
        self.config = self.config.replace(source_ch_names=adapter.src_ch_names)
        changed = self.config.source_ch_names is not None
        self.montage_adapter = adapter.to(next(self.parameters()).device) if changed else None
        if self.load_report is not None:
            self.load_report = self.load_report.with_montage(adapter)
        return adapter.interpolated

    # Training

    @property
    def has_statistics(self) -> bool:
        """Whether :meth:`fit_statistics` has nothing left to do: the numbers are there, or none are needed."""
        return all(layer.fitted for layer in self.front_ends().values())

    def fit_statistics(self, batches: Iterable[Mapping[str, Any]], *, replace: bool = False) -> None:
        """Take the statistics that the model standardises by from training samples; nothing where it has none.

        It must be done once before training. The numbers are saved with the weights, so that a loaded model needs no
        call: its weights were trained with the numbers that it has.

        Args:
            batches: Batches of training people only, tensors by modality; gone through once for each modality that has
                statistics.
            replace: Whether numbers that are there already, from a checkpoint or an earlier call, are replaced.

        Raises:
            ShapeError: If there is no batch, or one does not fit.
            ConfigError: If there are numbers already, and ``replace`` is not asked for.
        """
        layers = self.front_ends()
        if not replace and any(layer.fitted for layer in layers.values()):
            raise ConfigError(
                "fit_statistics: this model has statistics already, from its checkpoint or an earlier call, and its "
                "weights were trained with them. Leave the call out, or give replace=True and train them all."
            )
        device = next(self.parameters()).device

        def samples(modality: str) -> Iterator[Tensor]:
            for batch in batches:
                if modality not in batch:
                    raise ShapeError(f"batches: expected {modality!r} in each, got {', '.join(batch) or 'nothing'}.")
                here = (batch.get("present") or {}).get(modality)
                x = batch[modality] if here is None else batch[modality][here]
                mask = (batch.get("masks") or {}).get(modality) if modality in self.masked else None
                if mask is not None and here is None and isinstance(layers[modality], FeatureNorm):
                    x = x[mask][None]  # padding is no part of the statistics
                x = x.to(device)
                yield self.adapted(x) if modality == "eeg" else x

        with torch.no_grad():
            for modality, layer in layers.items():
                layer.fit(samples(modality))

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters by ``"{modality}_encoder"`` and ``"rest"``, for a learning rate each."""
        groups: dict[str, list[nn.Parameter]] = {f"{modality}_encoder": [] for modality in self.modalities}
        groups["rest"] = []
        for name, parameter in self.named_parameters():
            head = name.partition(".")[0]
            groups[head if head in groups else "rest"].append(parameter)
        return groups

    def make_loss(
        self, class_counts: Tensor | Sequence[int] | None = None, *, num_classes: int | None = None, **values: Any
    ) -> nn.Module:
        """Return the loss that the paper trains with, called as ``loss(output, target, present=None)``.

        Args:
            class_counts: Training samples per class, ``(num_classes,)``, for weights of the classes where the loss's
                ``beta`` is above 0 (default: none).
            num_classes: Classes of the logits that the loss will see, where training asks for one factor of the classes
                (default: the model's).
            **values: Values of ``loss_config_class`` that differ from its defaults, or of ``loss_options``.

        Raises:
            ShapeError: If ``class_counts`` has another length than ``num_classes``.
            ConfigError: If there is no such value, or it is impossible.
        """
        options = {key: values.pop(key) for key in self.loss_options if key in values}
        loss = self.loss_config_class.from_dict(values)
        if class_counts is not None:
            counts = torch.as_tensor(class_counts)
            expected = self.config.num_classes if num_classes is None else num_classes
            if counts.shape != (expected,):
                raise ShapeError(f"class_counts: expected ({expected},), got {tuple(counts.shape)}.")
            if loss.beta > 0:
                options.setdefault("class_weights", class_balanced_weights(counts, loss.beta))
        return self.build_loss(loss, **options)

    def build_loss(self, loss: Any, **options: Any) -> nn.Module:
        """Return the loss of a configuration, cross-entropy and focal loss; a subclass with more says what.

        Args:
            loss: Of ``loss_config_class``.
            **options: Those of ``loss_options`` that are given, such as the ``class_weights``.
        """
        own = {key: getattr(loss, key) for key in ("w_ce", "w_focal", "gamma", "label_smoothing")}
        return EmotionLoss(**{**own, **options})


def _built(cls: type[Backbone], asked: EncoderConfig, sizes: Mapping[str, Any], where: str) -> Backbone:
    if not asked.whole:
        for key in sizes:
            if key in asked.config:
                raise ConfigError(
                    f"{where}: {key!r} follows from the model's own inputs. Leave it out and change input_spec."
                )
        return cls.from_preset(asked.name, **sizes, **asked.config)
    config = cls.config_class.from_dict(asked.config, where=where)
    fits = config.replace(**sizes)
    if other := [key for key in sizes if getattr(fits, key) != getattr(config, key)]:
        raise ConfigError(
            f"{where}.{other[0]}: expected {quoted(getattr(fits, other[0]))}, which follows from the model's own "
            f"inputs, got {quoted(getattr(config, other[0]))}. Leave whole out to take sizes from input_spec."
        )
    encoder = cls(config)
    encoder.architecture = asked.name
    return encoder
