"""How recordings must look when they enter a model, one file a modality. Saved with every checkpoint."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from evermodels.core.config import Config
from evermodels.core.errors import ConfigError
from evermodels.core.specs.audio import AudioSpec
from evermodels.core.specs.eeg import EEGFeatures, EEGSpec
from evermodels.core.specs.eye import EyeSpec
from evermodels.core.specs.modality import ModalitySpec, Reading
from evermodels.core.specs.video import VideoSpec

__all__ = [
    "MODALITIES",
    "AudioSpec",
    "EEGFeatures",
    "EEGSpec",
    "EyeSpec",
    "InputSpec",
    "ModalitySpec",
    "Reading",
    "VideoSpec",
]

_DAY = 86_400


@dataclass(frozen=True)
class InputSpec(Config):
    """The inputs of one model, by modality; ``None`` for a modality that it does not take.

    Its fields are the closed table of modalities: what a modality's recordings are read with lies in
    ``evermodels.signals`` under the field's name.

    Args:
        window_seconds: Length of a window in seconds, the same for all modalities; ``None`` for a model of clips of any
            length.
        eeg: EEG.
        video: Face video.
        audio: Sound.
        eye: Eye movement and pupil.

    Example:
        >>> spec = InputSpec(window_seconds=5.0, eeg=EEGSpec(ch_names=("Fz", "Cz"), sfreq=200.0))
        >>> spec.modalities, spec.shape("eeg")
        (('eeg',), (2, 1000))
    """

    window_seconds: float | None = None
    eeg: EEGSpec | None = None
    video: VideoSpec | None = None
    audio: AudioSpec | None = None
    eye: EyeSpec | None = None

    def check(self) -> None:
        """Refuse a window length that a modality cannot have."""
        if self.window_seconds is not None and not 0 < self.window_seconds <= _DAY:
            raise self.refuse("window_seconds", f"a positive length in seconds, up to {_DAY:,} (a day)")
        for name in self.modalities:
            self.of(name).check_window(self.window_seconds)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities that the model takes."""
        return tuple(name for name in MODALITIES if getattr(self, name) is not None)

    def of(self, modality: str) -> ModalitySpec:
        """Return the spec of a modality.

        Args:
            modality: Its name.

        Raises:
            ConfigError: If the model does not take it.
        """
        spec = getattr(self, modality) if modality in MODALITIES else None
        if spec is None:
            raise ConfigError(
                f"{modality}: the model takes no {modality}, only {', '.join(self.modalities) or 'nothing'}."
            )
        found: ModalitySpec = spec
        return found

    @property
    def ch_names(self) -> tuple[str, ...]:
        """Names of the channels, of the modality whose channels have names; none where there is none."""
        specs = [self.of(name) for name in self.modalities]
        return next((spec.ch_names for spec in specs if hasattr(spec, "ch_names")), ())

    def shape(self, modality: str) -> tuple[int, ...]:
        """Return the shape of one sample of a modality, without the batch.

        Args:
            modality: Its name.

        Raises:
            ConfigError: If the model does not take it.
        """
        return self.of(modality).shape(self.window_seconds)

    def owner(self, key: str) -> str | None:
        """Return the modality whose spec has a field of this name, or ``None``.

        Args:
            key: The field's name.
        """
        return next((name for name in self.modalities if key in self.of(name).keys()), None)

    def describe(self) -> dict[str, tuple[str, ...]]:
        """Return plain sentences by the title of each modality, the window's length first.

        Example:
            >>> InputSpec(window_seconds=2.0, video=VideoSpec(num_frames=8, size=(64, 64))).describe()
            {'windows': ('2 s',), 'video': ('8 frames of 64 by 64 pixels a window, the face cut out',)}
        """
        windows = {} if self.window_seconds is None else {"windows": (f"{self.window_seconds:g} s",)}
        return {**windows, **{self.of(name).title: self.of(name).describe() for name in self.modalities}}


MODALITIES: tuple[str, ...] = tuple(f.name for f in dataclasses.fields(InputSpec) if f.name != "window_seconds")
"""The closed table of modalities, in the order in which they are named everywhere."""
