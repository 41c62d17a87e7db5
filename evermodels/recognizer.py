"""From a recording to class probabilities in one call."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evermodels import montage
from evermodels.checkpoints.base import PretrainedModel
from evermodels.checkpoints.load import from_pretrained
from evermodels.core.errors import CheckpointError, ConfigError, SignalError, require
from evermodels.core.outputs import EmotionOutput
from evermodels.core.specs import InputSpec
from evermodels.facts import describe
from evermodels.recognition import Recognition, Top
from evermodels.signals import Inputs, Preprocessor, Whitening

__all__ = ["Recognition", "Recognizer", "Top", "describe", "run_model"]

_FEEDS = {"eeg": "eeg", "video": "video"}  # what a backbone declares as its input, and the modality that gives it
_LARGEST_INPUT = 1e6  # µV, or standard deviations: no sensor and no picture comes near it


class Recognizer:
    """A model with its preprocessing: takes recordings, returns probabilities per window.

    Args:
        model: A model with an ``input_spec``, or the name, folder or repository of a checkpoint. For the recordings of
            another headset give ``evermodels.from_pretrained(name, ch_names=[...])``.
        device: Where to run; ``None`` for the GPU if there is one, else the CPU.
        batch_size: Windows per forward pass.
        face: What finds the face in a frame, as in :class:`~evermodels.signals.Preprocessor`: ``"spec"`` for what the
            model asks for, ``None`` for the whole picture, or a callable.

    Raises:
        ConfigError: If the model does not say what recordings must look like, or ``batch_size`` is below 1.
        UnknownNameError: If there is no such checkpoint.
        CheckpointError: If the checkpoint is damaged.

    Example:
        >>> import evermodels as em
        >>> recognizer = Recognizer(em.create_model("ever_tiny"))  # random weights: only the shapes mean something
        >>> import numpy as np
        >>> eeg = np.random.default_rng(0).normal(0.0, 10.0, (19, 2500))
        >>> result = recognizer.predict(eeg, ch_names=em.montage.preset("eegmat"), unit="uV", sfreq=250.0)
        >>> result.probabilities.shape
        (2, 4)
    """

    def __init__(
        self,
        model: PretrainedModel | str | os.PathLike[str],
        *,
        device: str | torch.device | None = None,
        batch_size: int = 8,
        face: Any = "spec",
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size: expected at least 1, got {batch_size!r}.")
        loaded: Any = model if isinstance(model, torch.nn.Module) else from_pretrained(model)
        spec = getattr(loaded, "input_spec", None)
        if spec is None:
            raise ConfigError(
                f"model: {type(loaded).__name__} has no input_spec, so recordings cannot be prepared for it. "
                "Set model.input_spec, or call the model on tensors."
            )
        kind = getattr(loaded, "input", None)
        if kind not in (None, *_FEEDS):
            raise ConfigError(
                f"model: {type(loaded).__name__} takes {kind}, which is not made of recordings here. Put it into a "
                "system such as EVER, or call the model on tensors."
            )
        if getattr(getattr(loaded, "config", None), "num_classes", None) == 0:
            raise ConfigError(
                f"model: {_name(loaded)} has no classes (num_classes=0), it returns embeddings. Give it a head with "
                "model.reset_classifier(n) and train that, or call the model on tensors."
            )
        self.device = _device(device)
        self.model = loaded.to(self.device).eval()
        self.input_spec: InputSpec = spec
        self.batch_size = batch_size
        self.preprocessor = Preprocessor(spec, face=face)

    @property
    def name(self) -> str:
        """Name of the model: the checkpoint's, else the architecture's."""
        return _name(self.model)

    def __repr__(self) -> str:
        return f"Recognizer({self.name!r}, device={str(self.device)!r}, batch_size={self.batch_size})"

    def predict(
        self,
        eeg: Any = None,
        video: Any = None,
        *,
        overlap: float = 0.0,
        progress: bool = False,
        ch_names: Sequence[str] | None = None,
        unit: str | None = None,
        sfreq: float | None = None,
        fps: float | None = None,
        video_start: float = 0.0,
        window_seconds: float | None = None,
        baseline: Any = None,
        calibration: Whitening | Sequence[Any] | None = None,
    ) -> Recognition:
        """Read a recording, cut it into windows, and return what the model says about each.

        Args:
            eeg: EEG file, MNE object or array ``(channels, time)``; ``None`` if there is none.
            video: Video file, folder or list of pictures, or array of frames; ``None`` if there is none.
            overlap: Part of a window that the next one repeats, in [0, 1).
            progress: Whether to draw a progress bar on stderr.
            ch_names: Channel names of an EEG array.
            unit: Unit of an EEG array, such as ``"uV"`` or ``"V"``.
            sfreq: Sampling rate of an EEG array in Hz.
            fps: Pictures per second of a picture sequence.
            video_start: When the first frame was taken, in seconds of the EEG recording.
            window_seconds: Length of a window of video without EEG in seconds; default that of the model's EEG, or the
                whole video.
            baseline: For a model that compares a person with a baseline (``input_spec.eeg.baseline``, such as
                ``"rest"``): a recording of this person in that state, a minute long; or ``(start, stop)`` in seconds of
                ``eeg`` that hold it, which are then not answered; or what ``preprocessor.calibrate`` made of it.
                Without one the recording stands in for it, and ``notes`` says what that means.
            calibration: For a model that compares a person with recordings of all states: a list of them, or what
                ``preprocessor.calibrate`` made of them.

        Returns:
            The result, one row per window.

        Raises:
            ConfigError: If neither EEG nor video is given, or a modality that the model does not take.
            SignalError: If the recording cannot be used, or its values make the model overflow; the message says why
                and what to do.
            CheckpointError: If the model's own weights make it overflow.
        """
        prepared = self.preprocessor(
            eeg,
            video,
            overlap=overlap,
            ch_names=ch_names,
            unit=unit,
            sfreq=sfreq,
            fps=fps,
            video_start=video_start,
            window_seconds=window_seconds,
            baseline=baseline,
            calibration=calibration,
        )
        inputs, count = prepared.tensors, len(prepared)
        channels = self.input_spec.eeg.ch_names if self.input_spec.eeg is not None else ()
        outputs = []
        bar = _bar(count, progress)
        for first in range(0, count, self.batch_size):
            batch = {name: tensor[first : first + self.batch_size].to(self.device) for name, tensor in inputs.items()}
            here = {name: flag[first : first + self.batch_size] for name, flag in prepared.present.items()}
            with torch.inference_mode():
                output = run_model(self.model, batch, here)
            size = len(next(iter(batch.values())))
            _check_finite(self.model, output, batch, prepared.starts[first : first + size].tolist(), channels)
            outputs.append(
                (
                    _numpy(output.probabilities),
                    {name: _numpy(value) for name, value in output.embeddings.items()},
                    {name: _by_window(_numpy(value), size) for name, value in output.attention.items()},
                )
            )
            bar.update(size)
        bar.close()
        spec = self.input_spec
        probabilities = np.concatenate([row[0] for row in outputs])
        classes = _classes(self.model, probabilities.shape[1])
        present = _present(self.model, prepared, spec)
        factors = tuple(getattr(self.model, "factors", ()))
        shown = _surest(probabilities, present, set(inputs))
        return Recognition(
            model=self.name,
            starts=prepared.starts.numpy().astype(np.float64),
            window_seconds=prepared.window_seconds,
            probabilities=probabilities,
            classes=classes,
            embeddings=_join([row[1] for row in outputs]),
            attention=_join([row[2] for row in outputs]),
            inputs=_keep(inputs, spec, shown),
            input_spec=spec,
            shown=shown,
            ch_names=tuple(getattr(getattr(self.model, "config", None), "ch_names", ())),
            regions={name: tuple(indices) for name, indices in _regions(self.model, spec).items()},
            facts=describe(self.model),
            quality={name: _numpy(value) for name, value in prepared.quality.items()},
            notes=prepared.notes + self._measured(prepared.against),
            against=prepared.against,
            factors=factors,
            present=present,
            events=prepared.events,
            captions=dict(getattr(self.model, "captions", {})),
        )

    def _measured(self, against: str) -> tuple[str, ...]:
        """Return what was measured of this checkpoint where the recording itself stands in for the baseline."""
        said = (getattr(self.model, "provenance", None) or {}).get("without_baseline")
        return (said,) if against == "itself" and isinstance(said, str) else ()


def run_model(model: Any, batch: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None) -> EmotionOutput:
    """Run a system, or an encoder with a head, on a batch of what its input spec asks for.

    Args:
        model: The model. A system takes its modalities by keyword; a backbone declares in ``input`` what its one
            argument is.
        batch: Tensors by modality.
        present: Which samples have a modality, ``(batch,)`` bool by modality; for systems.

    Returns:
        The output; of a backbone the logits alone.
    """
    kind = getattr(model, "input", None)
    if kind is not None:
        return EmotionOutput(model(batch[_FEEDS[kind]]))
    output: EmotionOutput = model(**batch, present=dict(present)) if present else model(**batch)
    return output


def _check_finite(
    model: Any, output: EmotionOutput, batch: Mapping[str, Tensor], starts: Sequence[float], channels: Sequence[str]
) -> None:
    """Refuse numbers that are not finite on the way out, with the cause.

    Raises:
        SignalError: If values of the recording are beyond all that a sensor gives.
        CheckpointError: If they are not: then it is the weights.
    """
    values = (output.logits, *output.embeddings.values(), *output.attention.values())
    if all(bool(torch.isfinite(value).all()) for value in values):
        return
    wrong = [
        k
        for k in range(len(starts))
        if not all(bool(torch.isfinite(v[k] if len(v) == len(starts) else v).all()) for v in values)
    ]
    where = f"the window at {starts[wrong[0]]:g} s" + (f" and {len(wrong) - 1} more" if len(wrong) > 1 else "")
    for name, tensor in batch.items():
        largest = tensor[wrong].abs().amax(dim=tuple(range(2, tensor.ndim)))
        if not float(largest.max()) < _LARGEST_INPUT:
            row = int(largest.argmax()) % largest.shape[1]
            channel = f" in channel {channels[row]}" if name == "eeg" and row < len(channels) else ""
            raise SignalError(
                f"{name}: in {where} the model's numbers overflow, because of values up to {float(largest.max()):.3g}"
                f"{channel}. Look at that stretch of the recording and at its unit, and cut it out."
            )
    broken = [name for name, weight in model.named_parameters() if not bool(torch.isfinite(weight).all())]
    cause = f"the weights {', '.join(broken[:3])} are not finite" if broken else "its weights are too large"
    raise CheckpointError(
        f"model: in {where} its numbers are not finite although the recording is ordinary: {cause}. No probability "
        "follows. Train it anew with a lower learning rate, get the checkpoint again, or run it in float32."
    )


def _present(model: Any, prepared: Inputs, spec: InputSpec) -> dict[str, np.ndarray]:
    """Return which window has which modality, of those that the model takes or its factors speak of."""
    named = [*spec.modalities, *(m for factor in getattr(model, "factors", ()) for m in factor.modalities)]
    every, none = np.ones(len(prepared), dtype=bool), np.zeros(len(prepared), dtype=bool)
    return {
        name: (prepared.present[name].cpu().numpy() if name in prepared.present else every)
        if name in prepared.tensors
        else none
        for name in named
    }


def _surest(probabilities: np.ndarray, present: Mapping[str, np.ndarray], given: set[str]) -> int:
    """Return the window with the largest probability, among those with all that was given if there are any."""
    sure = probabilities.max(axis=1)
    whole = np.logical_and.reduce([present[name] for name in given if name in present])
    return int(np.where(whole, sure, -1.0).argmax() if np.any(whole) else sure.argmax())


def _device(device: str | torch.device | None) -> torch.device:
    try:
        found = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"device: {str(device)!r} cannot be used ({reason}). 'cpu' is always there.") from error
    return found


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()


def _by_window(value: np.ndarray, windows: int) -> np.ndarray:
    """Repeat what the model learned once (a weight per region) for each window."""
    return value if value.ndim > 1 else np.repeat(value[None], windows, axis=0)


def _join(rows: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def _name(model: Any) -> str:
    source = getattr(getattr(model, "load_report", None), "source", None)
    if source:
        return Path(os.path.normpath(source)).name  # of a folder its last name, not where it lies
    return str(getattr(model, "architecture", None) or type(model).__name__)


def _classes(model: Any, count: int) -> tuple[str, ...]:
    classes = getattr(model, "classes", None)
    return tuple(classes) if classes else tuple(f"class {k}" for k in range(count))


def _regions(model: Any, spec: InputSpec) -> Mapping[str, Sequence[int]]:
    regions = getattr(model, "regions", None)  # the model's own grouping, in the order of its attention
    if isinstance(regions, Mapping):
        return regions
    return montage.regions(spec.eeg.ch_names) if spec.eeg is not None else {}


def _keep(inputs: Mapping[str, Tensor], spec: InputSpec, shown: int) -> dict[str, np.ndarray]:
    """Keep the inputs small: EEG as float32, the frames of one window back in 8-bit colours."""
    kept: dict[str, np.ndarray] = {}
    if "eeg" in inputs:
        kept["eeg"] = _numpy(inputs["eeg"])
    if "video" in inputs and spec.video is not None:
        mean = torch.tensor(spec.video.mean).view(3, 1, 1)
        std = torch.tensor(spec.video.std).view(3, 1, 1)
        pictures = inputs["video"][shown : shown + 1].cpu() * std + mean
        kept["video"] = (pictures.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    return kept


def _bar(windows: int, progress: bool) -> Any:
    tqdm = require("tqdm", extra="train", purpose="draw a progress bar")
    return tqdm.tqdm(total=windows, desc="windows", unit="window", disable=not progress)
