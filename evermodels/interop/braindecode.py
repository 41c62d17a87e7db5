"""Any EEG encoder, system or checkpoint as a model that braindecode and Open EEG Bench take."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from evermodels.backbones.base import Backbone
from evermodels.checkpoints.base import PretrainedModel
from evermodels.checkpoints.load import from_pretrained
from evermodels.core import registry
from evermodels.core.config import check_num_classes
from evermodels.core.errors import ConfigError, ShapeError, check_axes, quoted
from evermodels.core.specs import EEGFeatures, EEGSpec
from evermodels.core.warning import warn
from evermodels.interop.chs_info import names_of
from evermodels.interop.resampling import Resample
from evermodels.layers import DifferentialEntropy, SpectrogramFrontEnd
from evermodels.models.system import System
from evermodels.signals.eeg.checks import TO_MICROVOLT

_SPECTROGRAM = (64, 64)
_SAME_RATE = 1e-6


class EEGModel(nn.Module):
    r"""A model of this package behind braindecode's contract: windows of EEG in, class scores out.

    .. math:: \text{logits} = \mathrm{final\_layer}(f(\text{eeg}))

    f is any registered EEG encoder, system or checkpoint; what is not signals (spectrograms, features by band) is made
    of the windows here. braindecode (``EEGClassifier(EEGModel, module__name=…)``) and Open EEG Bench
    (``model_cls="evermodels.interop.braindecode.EEGModel"``) say the first five arguments themselves. Neither of them
    is needed to use the class.

    An encoder or system with random weights is built for the windows as they come: their channels, rate and length.
    What it would standardise by statistics of the training people it takes from the batches that train it, an encoder
    from all so far, a system from the first, as braindecode has no step for it. A
    checkpoint knows its own: channels go by name and position (:func:`evermodels.interop.chs_info.names_of`), those
    that it lacks are interpolated, another rate is resampled. Its head is a new one unless ``keep_head``.

    Args:
        n_chans: EEG channels of a window (default: as many as ``chs_info`` has).
        n_outputs: Classes.
        n_times: Samples of a window.
        sfreq: Their rate in Hz.
        chs_info: Channels as MNE's ``info["chs"]``; needed by all that knows electrodes: checkpoints, systems, and
            encoders such as ``mbsm_tiny`` and ``rgnn_tiny``.
        name: Encoder or system (:func:`evermodels.list_models`), or checkpoint as :func:`evermodels.from_pretrained`
            takes it.
        unit: Unit of the windows: ``"V"`` (as MNE has them), ``"mV"``, ``"uV"``, ``"nV"``, or a number, how many µV
            one unit stands for, such as 10 for windows that were standardised. It is never guessed.
        keep_head: Whether a checkpoint's own head is kept; ``n_outputs`` must be its number of classes.
        without_baseline: Whether to use a checkpoint that compares with a minute of the person's own rest without it.
            No window says what that minute was, so the head has to be trained anew.
        min_real: Least part of a checkpoint's channels that the windows must have, 0 to 1.
        **config: Values of the encoder's or system's configuration that differ from its preset's, such as
            ``modalities=("eeg",)``.

    Attributes:
        encoder: What makes the embedding, without a head.
        final_layer: The head, and nothing else, so that it can be replaced, frozen or probed.

    Raises:
        ConfigError: If an argument is missing or does not fit what the model takes.
        UnknownNameError: If there is no such model, or a channel is no electrode.
        CheckpointError: If the checkpoint cannot be loaded.

    Example:
        >>> model = EEGModel(n_chans=3, n_outputs=2, n_times=500, sfreq=100.0, name="eegnet_tiny", unit="V").eval()
        >>> model(1e-5 * torch.randn(4, 3, 500)).shape
        torch.Size([4, 2])
        >>> channels = [{"ch_name": name} for name in ("TP9", "AF7", "AF8", "TP10")]
        >>> muse = {"n_chans": 4, "n_outputs": 3, "n_times": 1280, "sfreq": 256.0, "chs_info": channels, "unit": "uV"}
        >>> model = EEGModel(**muse, name="mbsm_tiny.open").eval()  # weights for 200 Hz, any electrodes
        >>> model.final_layer, model(torch.randn(1, 4, 1280)).shape
        (Linear(in_features=128, out_features=3, bias=True), torch.Size([1, 3]))
    """

    def __init__(  # braindecode's arguments and ours
        self,
        n_chans: int | None = None,
        n_outputs: int | None = None,
        n_times: int | None = None,
        sfreq: float | None = None,
        chs_info: Sequence[Mapping[str, Any]] | None = None,
        *,
        name: str | None = None,
        unit: str | float | None = None,
        keep_head: bool = False,
        without_baseline: bool = False,
        min_real: float = 0.5,
        **config: Any,
    ) -> None:
        super().__init__()
        if n_chans is None and chs_info is not None:
            n_chans = len(chs_info)
        self.n_chans, self.n_outputs, self.n_times, self.sfreq = _sizes(n_chans, n_outputs, n_times, sfreq)
        self.chs_info, self.scale = chs_info, _microvolts(unit)
        self.keep_head, self.min_real = keep_head, min_real
        if chs_info is not None and len(chs_info) != self.n_chans:
            raise ConfigError(f"chs_info: expected the {self.n_chans} channels of n_chans, got {len(chs_info)}.")
        if not isinstance(name, str):
            raise ConfigError(f"name: expected an encoder, a system or a checkpoint, got {quoted(name)}.")
        self.resample: nn.Module = nn.Identity()
        self.front_end: nn.Module = nn.Identity()
        self.spec: EEGSpec | None = None
        """How EEG must look for a checkpoint or system, with the windows' own channels."""
        if name in registry.MODELS:
            if keep_head:
                raise ConfigError(f"keep_head: {name!r} has random weights, so there is no head to keep.")
            self._build(name, config)
        else:
            self._load(name, config, without_baseline)
        self.train()

    # What f is

    def _build(self, name: str, config: dict[str, Any]) -> None:
        """Build an encoder or system with random weights for the windows as they are."""
        row = registry.entry(name)
        if "eeg" not in row.modalities:
            raise ConfigError(f"name: {name!r} takes no EEG. evermodels.list_models(modality='eeg') shows what does.")
        for key in ("num_classes", "ch_names", "sfreq", "window_seconds", "in_chans", "num_samples"):
            if key in config:
                raise ConfigError(f"{key}: follows from the windows. Leave it out.")
        cls = registry.model_class(name)
        if row.kind == "system":
            seconds = self.n_times / self.sfreq
            model = cls.from_preset(
                name, num_classes=0, ch_names=self._names(name), sfreq=self.sfreq, window_seconds=seconds, **config
            )
            self._take_system(model, name)
            return
        shape: tuple[int, ...] = (self.n_chans, self.n_times)
        if cls.input == "spectrogram":
            self.front_end = SpectrogramFrontEnd(self.n_chans, round(self.sfreq), size=_SPECTROGRAM)
            shape = (self.n_chans, *_SPECTROGRAM)
        elif cls.input == "features":
            bands = _Bands(self.n_chans, self.n_times, self.sfreq)
            self.front_end, shape = bands, bands.shape
        told = {"ch_names": self._names(name), "sfreq": self.sfreq} if "ch_names" in cls.told else {"sfreq": self.sfreq}
        told = {key: told[key] for key in cls.told}
        self._take_backbone(cls.from_preset(name, num_classes=0, **cls.sizes_for(shape), **told, **config))

    def _load(self, name: str, config: dict[str, Any], without_baseline: bool) -> None:
        """Load a checkpoint and bring it to the windows, or the windows to it."""
        if config:
            raise ConfigError(
                f"{', '.join(sorted(config))}: a checkpoint comes with its own configuration. Leave it out."
            )
        model = from_pretrained(name)
        spec = None if model.input_spec is None else model.input_spec.eeg
        if spec is None:
            raise ConfigError(
                f"name: the checkpoint {name!r} takes no EEG, or does not say of which channels and rate. "
                "evermodels.list_models(modality='eeg', pretrained=True) shows what does."
            )
        if spec.features is not None:
            raise ConfigError(f"name: the checkpoint {name!r} takes features of EEG that are made of whole recordings.")
        if spec.baseline and not without_baseline:
            raise ConfigError(
                f"without_baseline: the checkpoint {name!r} compares each window with a minute of the person's own "
                f"{spec.baseline}, which windows alone do not have. Give without_baseline=True to use it all the same, "
                "and train its head anew."
            )
        if (spec.l_freq, spec.h_freq, spec.notch) != (None, None, None):
            warn(
                f"{name}: {spec.describe()[0]}. Filters are not applied to windows; the recordings must have had them."
            )
        model.adapt_montage(self._names(name), min_real=self.min_real)
        assert model.input_spec is not None and model.input_spec.eeg is not None
        self.spec = model.input_spec.eeg
        if abs(self.spec.sfreq / self.sfreq - 1) > _SAME_RATE:
            self.resample = Resample(self.sfreq, self.spec.sfreq)
        samples = math.ceil(self.n_times * Fraction(self.spec.sfreq / self.sfreq).limit_denominator(1000))
        if isinstance(model, System):
            self._take_system(model, name, samples)
        else:
            self._take_backbone(_of_length(model, self.n_chans, samples))

    def _take_system(self, model: System, name: str, samples: int | None = None) -> None:
        if "eeg" not in model.modalities:
            raise ConfigError(f"name: {name!r} takes {' and '.join(model.modalities)}, no EEG.")
        own = model.input_spec.shape("eeg")[-1]
        if samples is not None and samples != own:
            raise ConfigError(
                f"n_times: {name!r} reads windows of {model.input_spec.window_seconds:g} s, got "
                f"{self.n_times / self.sfreq:g} s ({self.n_times} samples at {self.sfreq:g} Hz). Cut windows so."
            )
        head: nn.Module = nn.Linear(model.embed_dim, self.n_outputs)
        if self.keep_head:
            if model.head is None:
                raise ConfigError(
                    f"keep_head: the classifier of {type(model).__name__} is part of its fusion. Leave it out."
                )
            head = _kept(model.head, model.config.num_classes, self.n_outputs)
        model.reset_classifier(0)
        self.encoder: PretrainedModel = model
        self.final_layer = head

    def _take_backbone(self, model: Backbone) -> None:
        if self.keep_head:
            head = _kept(model.head, model.num_classes, self.n_outputs)
        else:
            model.reset_classifier(self.n_outputs)
            head = model.head
        model.reset_classifier(0)
        self.encoder = model
        self.final_layer = head

    def _names(self, name: str) -> tuple[str, ...]:
        if self.chs_info is None:
            raise ConfigError(
                f"chs_info: {name!r} knows electrodes and has to be told which these {self.n_chans} are. Give "
                "chs_info=raw.info['chs'], or [{'ch_name': 'Fp1'}, …]; braindecode says it itself for MNE epochs, else "
                "give module__chs_info."
            )
        return names_of(self.chs_info)

    # Use

    def forward(self, x: Tensor) -> Tensor:
        """Classify windows.

        Args:
            x: ``(batch, n_chans, n_times)``, in ``unit``.

        Returns:
            What ``final_layer`` makes of the embedding: logits, ``(batch, n_outputs)``.

        Raises:
            ShapeError: If windows have another shape.
            SignalError: If a value is not finite and the model is a system (checked in eager mode only).
        """
        return self.final_layer(self.forward_features(x))

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the embedding, ``(batch, embed_dim)``.

        Args:
            x: ``(batch, n_chans, n_times)``, in ``unit``.

        Raises:
            ShapeError: If windows have another shape.
        """
        check_axes("x", x, "batch channels time", channels=self.n_chans, time=self.n_times)
        if not x.is_floating_point():
            raise ShapeError(f"x: expected floating point, got {x.dtype}. Convert it with .float().")
        eeg = self.resample(self.scale * (x if x.dtype == torch.float64 else x.float()))
        if self.spec is not None and self.spec.reference == "average":
            eeg = eeg - eeg.mean(dim=1, keepdim=True)
        if self.spec is not None and self.spec.scale == "zscore":
            spread = eeg.std(dim=2, correction=0, keepdim=True)
            eeg = (eeg - eeg.mean(dim=2, keepdim=True)) / torch.where(spread > 0, spread, 1)
        own = next(self.encoder.parameters()).dtype
        made = self.front_end(eeg).to(own)
        if isinstance(self.encoder, System):
            self._fit_first(self.encoder, made)
            embedding: Tensor = self.encoder(eeg=made).embedding
            return embedding
        return self.encoder(made)

    def _fit_first(self, system: System, eeg: Tensor) -> None:
        """Take the statistics that a system standardises by from the first batch that trains it."""
        layer = system.front_ends().get("eeg") if self.training else None
        if layer is not None and not layer.fitted:
            layer.fit([system.adapted(eeg)])

    def reset_head(self, n_outputs: int) -> None:
        """Replace the head by a new one.

        Args:
            n_outputs: Number of classes.

        Raises:
            ConfigError: If it is not positive.
        """
        _, self.n_outputs, _, _ = _sizes(self.n_chans, n_outputs, self.n_times, self.sfreq)
        anchor = next(self.encoder.parameters())
        if isinstance(self.encoder, System):
            head: nn.Module = nn.Linear(self.encoder.embed_dim, n_outputs)
        else:
            family: Any = copy.copy(self.encoder)  # its own kind of head, for its config with other classes
            family.config = self.encoder.config.replace(num_classes=n_outputs)
            head = family.make_head()
        self.final_layer = head.to(device=anchor.device, dtype=anchor.dtype)

    def extra_repr(self) -> str:
        """Return the settings for ``repr``."""
        return f"n_chans={self.n_chans}, n_outputs={self.n_outputs}, n_times={self.n_times}, sfreq={self.sfreq:g}"


class _Bands(nn.Module):
    """Differential entropy by band, each feature standardised by the windows that training has shown so far."""

    def __init__(self, n_chans: int, n_times: int, sfreq: float) -> None:
        super().__init__()
        made = EEGFeatures()
        self.entropy = DifferentialEntropy(sfreq, made.bands, min(made.seconds, n_times / sfreq), method=made.method)
        self.norm = nn.BatchNorm1d(len(made.bands) * n_chans, affine=False, momentum=None)
        self.shape = (n_times // self.entropy.length, len(made.bands), n_chans)

    def forward(self, eeg: Tensor) -> Tensor:
        """Return ``(batch, stretches, bands, channels)``."""
        features = self.entropy(eeg)
        flat = features.flatten(0, 1).flatten(1)
        standardised: Tensor = self.norm(flat.float())
        return standardised.view_as(features)


def _sizes(n_chans: Any, n_outputs: Any, n_times: Any, sfreq: Any) -> tuple[int, int, int, float]:
    """Refuse sizes that are missing or impossible."""
    for key, value in {"n_chans": n_chans, "n_outputs": n_outputs, "n_times": n_times}.items():
        if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
            raise ConfigError(f"{key}: expected a positive whole number, got {quoted(value)}.")
    check_num_classes(int(n_outputs), "n_outputs")
    if isinstance(sfreq, bool) or not hasattr(sfreq, "__float__") or not 0 < float(sfreq) < math.inf:
        raise ConfigError(
            f"sfreq: expected the windows' rate in Hz, got {quoted(sfreq)}. braindecode says it itself for MNE "
            "epochs; with its data sets and with arrays give module__sfreq."
        )
    return int(n_chans), int(n_outputs), int(n_times), float(sfreq)


def _microvolts(unit: Any) -> float:
    """Return the factor from the windows' unit to µV."""
    if isinstance(unit, str) and unit in TO_MICROVOLT:
        return TO_MICROVOLT[unit]
    number = not isinstance(unit, bool) and isinstance(unit, (int, float))
    if number and 0 < unit < math.inf:
        return float(unit)
    raise ConfigError(
        f"unit: expected 'V', 'mV', 'uV', 'nV', or how many µV one unit of the windows stands for, got {quoted(unit)}. "
        "MNE and most of braindecode's data sets have volts; multiplied by 1e6 in preprocessing they are µV; "
        "standardised windows have no unit, where 10 is a fair number."
    )


def _kept(head: nn.Module | None, classes: int, wanted: int) -> nn.Module:
    """Return a checkpoint's own head."""
    if head is None or isinstance(head, nn.Identity) or not classes:
        raise ConfigError("keep_head: the checkpoint has no head. Leave it out.")
    if classes != wanted:
        raise ConfigError(f"n_outputs: the checkpoint's head has {classes} classes, got {wanted}. Leave keep_head out.")
    return head


def _of_length(model: Any, n_chans: int, samples: int) -> Backbone:
    """Return an encoder with the same weights for windows of another length."""
    shape = (n_chans, samples)
    if tuple(model.sample_shape) == shape:
        found: Backbone = model
        return found
    other: Backbone = type(model)(model.config.replace(**model.sizes_for(shape)))
    state = {key: value for key, value in model.state_dict().items()}
    other.load_state_dict(other.taken_over(state, model.config))
    other.architecture = model.architecture
    return other
