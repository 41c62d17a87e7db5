"""What every system's configuration holds: recordings, encoders, and the shorthands for what stands inside."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evermodels import montage
from evermodels.core.config import Config, check_num_classes
from evermodels.core.errors import ConfigError, did_you_mean, quoted
from evermodels.core.specs import MODALITIES, InputSpec

_SHORT = ("modalities", "window_seconds")
_SHORT_EEG = ("ch_names", "sfreq")


@dataclass(frozen=True)
class EncoderConfig(Config):
    """Which encoder a modality has.

    Args:
        name: Registered backbone.
        config: Values that differ from its preset; the sizes that follow from the recordings are left out.
        whole: Whether ``config`` holds every value, sizes too, so that nothing is taken from the preset. So it stands
            in a checkpoint, which outlives presets; a model that is built says again what differs.

    Example:
        >>> EncoderConfig("audio_mamba_nano", {"depth": 2, "patch_size": [32, 2]}).config["patch_size"]
        (32, 2)
    """

    name: str
    config: Mapping[str, Any] = field(default_factory=dict)
    whole: bool = False

    def check(self) -> None:
        """Bring lists to tuples: JSON has lists only, and loaded must equal saved."""
        plain = {k: tuple(v) if isinstance(v, list) else v for k, v in self.config.items()}
        object.__setattr__(self, "config", plain)

    def to_dict(self) -> dict[str, Any]:
        """Return it in plain JSON; ``whole`` only where it is so, as earlier versions know it not."""
        return {key: value for key, value in super().to_dict().items() if key != "whole" or value}

    def changed(self, /, **changes: Any) -> dict[str, Any]:
        """Return all values after a change, before they are checked; what was changed goes by a preset again.

        Args:
            **changes: As :meth:`replace` takes them. Another name leaves the values behind that were of the first.
        """
        other: dict[str, Any] = {"config": {}} if changes.get("name", self.name) != self.name else {}
        return super().changed(**({"whole": False, **other, **changes} if changes else {}))


@dataclass(frozen=True)
class LossConfig(Config):
    """What every system's loss holds: EVER's eq. 18, by default its cross-entropy alone; each system adds its own.

    Args:
        w_ce: Weight of the class-balanced cross-entropy.
        w_focal: Weight of the focal loss.
        gamma: Exponent γ of the focal loss.
        beta: β of the effective number of samples (Cui et al., 2019) that the classes are weighed by; 0 weighs none.
        label_smoothing: Part of the cross-entropy's target that is spread over all classes.
    """

    w_ce: float = 1.0
    w_focal: float = 0.0
    gamma: float = 2.0
    beta: float = 0.999
    label_smoothing: float = 0.0

    def check(self) -> None:
        """Refuse negative weights, and rates outside [0, 1)."""
        for key in ("w_ce", "w_focal", "gamma"):
            if getattr(self, key) < 0:
                raise self.refuse(key, "0 or more")
        self.rates("beta", "label_smoothing")


@dataclass(frozen=True)
class SystemConfig(Config):
    """What every system's configuration holds; each system adds its own.

    ``replace``, ``create_model`` and recipes also take ``ch_names``, ``sfreq``, ``window_seconds`` and ``modalities``
    for what stands inside ``input_spec``.

    Args:
        num_classes: Classes; 0 for the embedding.
        input_spec: What the recordings are; the one truth on modalities, channels, rates and window length.
        encoders: Encoder of each modality.
        source_ch_names: EEG channels of the recordings, where they are others than the model's (default: its own); see
            :meth:`System.adapt_montage`.
        drop_rate: Dropout on the embeddings before the fusion.
        modality_drop_rate: Chance per sample, in training, that one of its modalities is hidden from the fusion, so
            that it learns to do without.

    Raises:
        ConfigError: For an unknown key, a wrong type or an impossible value.
        UnknownNameError: If a channel name is unknown or stands twice.
    """

    num_classes: int
    input_spec: InputSpec
    encoders: Mapping[str, EncoderConfig]
    source_ch_names: tuple[str, ...] | None = None
    drop_rate: float = 0.0
    modality_drop_rate: float = 0.0
    recorded: InputSpec = field(init=False, repr=False, compare=False)
    """What recordings must look like: ``input_spec``, with the channels of another headset where one is set."""

    def check(self) -> None:
        """Bring channel names to canonical spelling and refuse what cannot work."""
        check_num_classes(self.num_classes, f"{type(self).__name__}.num_classes")
        if not self.modalities:
            raise self.refuse("input_spec", "at least one modality")
        self._check_channels()
        object.__setattr__(self, "recorded", self._recorded())
        self._check_encoders()
        self.rates("drop_rate", "modality_drop_rate")

    def _check_channels(self) -> None:
        eeg = self.input_spec.eeg
        if eeg is None:
            if self.source_ch_names is not None:
                raise self.refuse("source_ch_names", "None, as this model takes no EEG")
            return
        own = eeg.replace(ch_names=montage.canonical_all(eeg.ch_names))
        object.__setattr__(self, "input_spec", self.input_spec.replace(eeg=own))
        if self.source_ch_names is not None:
            source = montage.canonical_all(self.source_ch_names)
            object.__setattr__(self, "source_ch_names", None if source == own.ch_names else source)

    def _recorded(self) -> InputSpec:
        eeg = self.input_spec.eeg
        if eeg is None or self.source_ch_names is None:
            return self.input_spec
        # Raw channels are interpolated; reference and scale are made afterwards, by the model itself.
        raw = eeg.replace(ch_names=self.source_ch_names, reference="as recorded", scale="none")
        return self.input_spec.replace(eeg=raw)

    def _check_encoders(self) -> None:
        where, usual = f"{type(self).__name__}.encoders", self._usual_encoders()
        if missing := [m for m in self.encoded if m not in self.encoders]:
            raise ConfigError(
                f"{where}: expected one for each of {', '.join(self.encoded)}, got none for {missing[0]!r}. "
                f"evermodels.list_models(kind='backbone', modality={missing[0]!r}) shows some."
            )
        if extra := [m for m in self.encoders if m not in self.encoded and self.encoders[m] != usual.get(m)]:
            raise ConfigError(
                f"{where}: expected one for each of {', '.join(self.encoded) or 'none'}, got one for "
                f"{quoted(extra[0])} too. Leave it out, or give input_spec that modality."
            )
        object.__setattr__(self, "encoders", {m: self.encoders[m] for m in self.encoded})

    @classmethod
    def _usual_encoders(cls) -> Mapping[str, EncoderConfig]:
        """Encoders that stand there by default; those of modalities that are not asked for fall away."""
        default = next(f.default_factory for f in dataclasses.fields(cls) if f.name == "encoders")
        usual: Mapping[str, EncoderConfig] = {} if default is dataclasses.MISSING else default()
        return usual

    @classmethod
    def keys(cls) -> set[str]:
        """Names that ``replace`` takes."""
        return super().keys() | {*_SHORT, *_SHORT_EEG}

    def changed(self, /, **changes: Any) -> dict[str, Any]:
        """Return all values after a change, before they are checked.

        Args:
            **changes: As :meth:`replace` takes them; ``ch_names``, ``sfreq`` (of the EEG), ``window_seconds`` and
                ``modalities`` (those to keep; what is said of the others is dropped) stand for what is inside
                ``input_spec``.

        Raises:
            ConfigError: If such a shorthand does not fit.
        """
        short = {key: changes.pop(key) for key in (*_SHORT, *_SHORT_EEG) if key in changes}
        for key in changes.keys() - self.keys():
            if (modality := self.input_spec.owner(key)) is not None:
                raise ConfigError(
                    f"{type(self).__name__}: {key!r} is said of the recordings: input_spec="
                    f"{{{modality!r}: {{{key!r}: …}}}} (in a recipe [model.config.input_spec.{modality}])."
                )
        if short:
            changes["input_spec"] = self._shorthand(changes.get("input_spec", {}), **short)
        new = super().changed(**changes)
        if isinstance(new["input_spec"], InputSpec) and isinstance(new["encoders"], Mapping):
            # Encoders of modalities that go now go with them.
            gone = {*self.modalities} - {*new["input_spec"].modalities}
            if "modalities" not in short:
                gone -= {*changes.get("encoders", ())}
            new["encoders"] = {m: encoder for m, encoder in new["encoders"].items() if m not in gone}
        return new

    def _shorthand(self, change: Any, modalities: Sequence[str] | None = None, **values: Any) -> Any:
        """Return the input spec with the shorthands put into it; what is said of modalities not kept is dropped."""
        if isinstance(change, InputSpec):
            change = {name: getattr(change, name) for name in InputSpec.keys()}
        if not isinstance(change, Mapping):
            return change  # refused by the caller, naming key and type
        kept = self._kept(modalities, [m for m in MODALITIES if change.get(m, getattr(self.input_spec, m)) is not None])
        eeg = {key: values.pop(key) for key in _SHORT_EEG if key in values}
        if eeg and modalities is None and "eeg" not in kept:
            raise ConfigError(f"{', '.join(eeg)}: this model takes no EEG. Leave it out.")
        spec = self.input_spec.replace(**{name: None for name in self.modalities if name not in kept}, **values)
        spec = spec.replace(**{key: value for key, value in change.items() if key not in MODALITIES or key in kept})
        return spec.replace(eeg=eeg) if eeg and "eeg" in kept else spec

    @staticmethod
    def _kept(modalities: Any, possible: list[str]) -> tuple[str, ...]:
        if modalities is None:
            return tuple(possible)
        if isinstance(modalities, str) or not isinstance(modalities, Sequence):
            raise ConfigError(f"modalities: expected a list of names, got {modalities!r}.")
        if not modalities or len(set(modalities)) != len(modalities) or not set(modalities) <= set(possible):
            raise ConfigError(
                f"modalities: expected one or more of {', '.join(possible)}, each once, got {quoted(list(modalities))}."
                f"{did_you_mean(next((m for m in modalities if m not in possible), ''), possible)}"
            )
        return tuple(modalities)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities that the model takes."""
        return self.input_spec.modalities

    @property
    def encoded(self) -> tuple[str, ...]:
        """Modalities that have a registered encoder: all, unless a system reads one without."""
        return self.modalities

    @property
    def ch_names(self) -> tuple[str, ...]:
        """EEG channels of the model itself, whatever the recordings have."""
        return () if self.input_spec.eeg is None else self.input_spec.eeg.ch_names
