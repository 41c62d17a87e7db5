"""From a recording to class probabilities in one call."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evermodels import montage
from evermodels.backbones.base import Backbone
from evermodels.checkpoints.base import PretrainedModel
from evermodels.checkpoints.load import from_pretrained
from evermodels.core.errors import CheckpointError, ConfigError, SignalError, require
from evermodels.core.outputs import EmotionOutput
from evermodels.core.specs import InputSpec
from evermodels.facts import describe
from evermodels.recognition import Recognition, Top
from evermodels.signals import Inputs, Preprocessor
from evermodels.signals.room import Reader

__all__ = ["Recognition", "Recognizer", "Top", "describe", "run_model"]

_LARGEST_INPUT = 1e6  # µV, or standard deviations: no sensor and no picture comes near it


class Recognizer:
    """A model with its preprocessing: takes recordings, returns probabilities per window.

    Args:
        model: A model with an ``input_spec``, or the name, folder or repository of a checkpoint. For the recordings of
            another headset give ``evermodels.from_pretrained(name, ch_names=[...])``.
        device: Where to run; ``None`` for the GPU if there is one, else the CPU.
        batch_size: Windows per forward pass.
        **options: As in :class:`~evermodels.signals.Preprocessor`, such as ``face=None`` for the whole picture.

    Raises:
        ConfigError: If the model does not say what recordings must look like, has no classes, is no system and no
            encoder of such recordings, or an argument is impossible.
        UnknownNameError: If there is no such checkpoint.
        CheckpointError: If the checkpoint is damaged.

    Example:
        >>> import evermodels as em
        >>> recognizer = Recognizer(em.create_model("ever_tiny"))  # random weights: only the shapes mean something
        >>> import numpy as np
        >>> noise = np.random.default_rng(0).normal(0.0, 10.0, (19, 2500))
        >>> eeg = em.signals.EEG(noise, ch_names="eegmat", unit="uV", sfreq=250.0)
        >>> result = recognizer.predict(eeg=eeg)
        >>> result.probabilities.shape
        (2, 4)
    """

    def __init__(
        self,
        model: PretrainedModel | str | os.PathLike[str],
        *,
        device: str | torch.device | None = None,
        batch_size: int = 8,
        **options: Any,
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size: expected at least 1, got {batch_size!r}.")
        loaded: Any = model if isinstance(model, torch.nn.Module) else from_pretrained(model)
        self.input_spec: InputSpec = _spec_of(loaded)
        self.preprocessor = Preprocessor(self.input_spec, **options)
        if len(self.preprocessor.readers) == 1:
            ((modality, reader),) = self.preprocessor.readers.items()
            reader.pad = modality in _masked(loaded)
        self.device = _device(device)
        self.model = loaded.to(self.device).eval()
        self.batch_size = batch_size

    @property
    def name(self) -> str:
        """Name of the model: the checkpoint's, else the architecture's."""
        return _name(self.model)

    def __repr__(self) -> str:
        return f"Recognizer({self.name!r}, device={str(self.device)!r}, batch_size={self.batch_size})"

    def predict(
        self,
        *,
        overlap: float = 0.0,
        window_seconds: float | None = None,
        baseline: Any = None,
        progress: bool = False,
        **recordings: Any,
    ) -> Recognition:
        """Read recordings window by window, and return what the model says about each.

        No more than ``batch_size`` windows lie in memory at once, so an hour of video costs no more than a minute.

        Args:
            overlap: Part of a window that the next one repeats, in [0, 1).
            window_seconds: Another length of a window in seconds than the model's, for recordings that allow it: a
                window of video has as many frames whatever its length.
            baseline: For a model that compares a person with a baseline (the input spec's ``baseline`` names its state,
                such as ``"rest"``): a recording of this person in that state, a minute long; or ``(start, stop)`` in
                seconds that hold it in the recording itself, which are then not answered; or what
                ``preprocessor.fit_baseline`` made of it. For a model that compares a person with all states: a list of
                recordings of them. Without one the recording stands in for it, and ``notes`` says what that means.
            progress: Whether to draw a progress bar on stderr.
            **recordings: By modality, such as ``eeg=`` and ``video=``: a path, a library's object, or a recording
                (:class:`evermodels.signals.EEG`, :class:`evermodels.signals.Video`, …), which has names, rate, unit and
                ``start``.

        Returns:
            The result, one row per window.

        Raises:
            ConfigError: If nothing is given, or a modality that the model does not take.
            SignalError: If a recording cannot be used, two do not overlap, or values make the model overflow; the
                message says why and what to do.
            CheckpointError: If the model's own weights make it overflow.
        """
        stream = self.preprocessor.stream(
            overlap=overlap,
            window_seconds=window_seconds,
            baseline=baseline,
            batch_size=self.batch_size,
            **recordings,
        )
        read = _Read(self.preprocessor.readers, len(stream))
        bar = _bar(len(stream), progress)
        for inputs in stream:
            batch = {name: tensor.to(self.device) for name, tensor in inputs.tensors.items()}
            with torch.inference_mode():
                output = run_model(self.model, batch, inputs.present, inputs.masks)
            _check_finite(self.model, output, batch, inputs.starts.tolist(), self.input_spec)
            read.add(inputs, output)
            bar.update(len(inputs))
        bar.close()
        return self._result(read)

    def _result(self, read: _Read) -> Recognition:
        probabilities = read.of("")["probabilities"]
        ch_names = tuple(getattr(getattr(self.model, "config", None), "ch_names", ()))
        factors = tuple(getattr(self.model, "factors", ()))
        named = (*self.input_spec.modalities, *(m for factor in factors for m in factor.modalities))
        return Recognition(
            model=self.name,
            starts=read.of("")["starts"].astype(np.float64),
            window_seconds=read.window_seconds,
            probabilities=probabilities,
            classes=_classes(self.model, probabilities.shape[1]),
            embeddings=read.of("embeddings"),
            attention=read.of("attention"),
            inputs={**read.of("inputs"), **read.shown_inputs},
            input_spec=self.input_spec,
            shown=read.shown,
            ch_names=ch_names,
            regions={name: tuple(indices) for name, indices in _regions(self.model, ch_names).items()},
            facts=describe(self.model),
            quality=read.of("quality"),
            notes=(*read.notes, *self._measured(read.against)),
            against=read.against,
            factors=factors,
            present={name: read.of("present").get(name, np.zeros(read.count, dtype=bool)) for name in named},
            events=tuple(read.events),
            captions=dict(self.model.captions),
        )

    def _measured(self, against: str) -> tuple[str, ...]:
        """Return what was measured of this checkpoint where the recording itself stands in for the baseline."""
        said = (getattr(self.model, "provenance", None) or {}).get("without_baseline")
        return (said,) if against == "itself" and isinstance(said, str) else ()


class _Read:
    """What is kept of a stream while it is read: never more tensors than those of one batch and the shown window.

    Its arrays are made once, as long as they will be: small ones that stay between large ones that go would keep the
    heap from shrinking, and memory would grow with the stream.
    """

    def __init__(self, readers: Mapping[str, Reader[Any]], windows: int) -> None:
        self.readers, self.size, self.count = readers, windows, 0
        self.arrays: dict[tuple[str, str], np.ndarray] = {}
        self.notes: list[str] = []
        self.events: list[str] = []
        self.given: set[str] = set()
        self.window_seconds, self.against = 0.0, ""
        self.shown, self.shown_inputs = 0, dict[str, np.ndarray]()
        self._surest = (False, -1.0)

    def of(self, kind: str) -> dict[str, np.ndarray]:
        """Return what was kept of one kind, by name."""
        return {name: values[: self.count] for (one, name), values in self.arrays.items() if one == kind}

    def add(self, inputs: Inputs, output: EmotionOutput) -> None:
        """Keep what a result holds of one batch."""
        probabilities = _numpy(output.probabilities)
        self._look_for_the_surest(inputs, probabilities.max(axis=1))
        self._put("", "probabilities", probabilities)
        self._put("", "starts", inputs.starts.numpy())
        for name, value in output.embeddings.items():
            self._put("embeddings", name, _numpy(value))
        for name, value in output.attention.items():
            self._put("attention", name, _by_window(_numpy(value), len(inputs)))
        for name, value in inputs.quality.items():
            self._put("quality", name, _numpy(value))
        for name, x in inputs.tensors.items():
            self._put("present", name, inputs.present.get(name, torch.ones(len(inputs), dtype=torch.bool)).numpy())
            if self.readers[name].keeps_all:
                self._put("inputs", name, self.readers[name].keep(x))
        self.notes += [note for note in inputs.notes if note not in self.notes]
        self.events += inputs.events
        self.given |= set(inputs.tensors)
        self.window_seconds, self.against = inputs.window_seconds, inputs.against
        self.count += len(inputs)

    def _put(self, kind: str, name: str, values: np.ndarray) -> None:
        if (kind, name) not in self.arrays:
            self.arrays[kind, name] = np.empty((self.size, *values.shape[1:]), values.dtype)
        self.arrays[kind, name][self.count : self.count + len(values)] = values

    def _look_for_the_surest(self, inputs: Inputs, sure: np.ndarray) -> None:
        """Find the window with the largest probability, among those with all that was given if there are any."""
        whole = np.logical_and.reduce([np.ones(len(inputs), bool), *(f.numpy() for f in inputs.present.values())])
        best = max(range(len(inputs)), key=lambda k: (whole[k], sure[k]))
        if (bool(whole[best]), float(sure[best])) > self._surest:
            self._surest = (bool(whole[best]), float(sure[best]))
            self.shown = self.count + best
            self.shown_inputs = {
                name: self.readers[name].keep(x[best : best + 1])
                for name, x in inputs.tensors.items()
                if not self.readers[name].keeps_all
            }


def run_model(
    model: Any,
    batch: Mapping[str, Tensor],
    present: Mapping[str, Tensor] | None = None,
    masks: Mapping[str, Tensor] | None = None,
) -> EmotionOutput:
    """Run a system, or an encoder with a head, on a batch of what its input spec asks for.

    Args:
        model: The model. A system takes its modalities by keyword; an encoder its one tensor.
        batch: Tensors by modality.
        present: Which samples have a modality, ``(batch,)`` bool by modality; for systems.
        masks: Valid frames, ``(batch, frames)`` bool by modality; a system gets those that it takes.

    Returns:
        The output; of an encoder the logits alone.
    """
    if isinstance(model, Backbone):
        (x,) = batch.values()
        return EmotionOutput(model(x))
    own = {name: mask.to(batch[name].device) for name, mask in (masks or {}).items() if name in _masked(model)}
    named = {"present": dict(present or {}), "masks": own}
    output: EmotionOutput = model(**batch, **{key: value for key, value in named.items() if value})
    return output


def _masked(model: Any) -> tuple[str, ...]:
    return tuple(getattr(model, "masked", ()))


def _spec_of(model: Any) -> InputSpec:
    """Return what a model takes, or raise if recordings cannot be made into that."""
    spec, kind = getattr(model, "input_spec", None), type(model).__name__
    if isinstance(model, Backbone):
        kinds = [spec.of(name).kind for name in spec.modalities] if spec is not None else []
        if kinds != [model.input]:
            raise ConfigError(
                f"model: {kind} takes {model.input}, which is not made of recordings here. Put it into a system such "
                "as EVER, or call the model on tensors."
            )
    if spec is None:
        raise ConfigError(
            f"model: {kind} has no input_spec, so recordings cannot be prepared for it. Give a system "
            "(evermodels.list_models(kind='system')), or call the model on tensors."
        )
    if not isinstance(model, Backbone):
        taken = inspect.signature(model.forward).parameters
        lacking = [name for name in (*spec.modalities, "present") if name not in taken]
        if lacking:
            raise ConfigError(
                f"model: {kind}.forward takes no argument {', '.join(lacking)}; a model of "
                f"{', '.join(spec.modalities)} takes each by keyword and `present`, as evermodels.models.System does."
            )
    if getattr(getattr(model, "config", None), "num_classes", None) == 0:
        raise ConfigError(
            f"model: {_name(model)} has no classes (num_classes=0), it returns embeddings. Give it a head with "
            "model.reset_classifier(n) and train that, or call the model on tensors."
        )
    return spec


def _check_finite(
    model: Any, output: EmotionOutput, batch: Mapping[str, Tensor], starts: Sequence[float], spec: InputSpec
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
            channels = getattr(spec.of(name), "ch_names", ())
            channel = f" in channel {channels[row]}" if len(channels) == largest.shape[1] else ""
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


def _name(model: Any) -> str:
    source = getattr(getattr(model, "load_report", None), "source", None)
    if source:
        return Path(os.path.normpath(source)).name  # of a folder its last name, not where it lies
    return str(getattr(model, "architecture", None) or type(model).__name__)


def _classes(model: Any, count: int) -> tuple[str, ...]:
    classes = getattr(model, "classes", None)
    return tuple(classes) if classes else tuple(f"class {k}" for k in range(count))


def _regions(model: Any, ch_names: Sequence[str]) -> Mapping[str, Sequence[int]]:
    regions = getattr(model, "regions", None)  # the model's own grouping, in the order of its attention
    if isinstance(regions, Mapping):
        return regions
    return montage.regions(ch_names) if ch_names else {}


def _bar(windows: int, progress: bool) -> Any:
    tqdm = require("tqdm", extra="train", purpose="draw a progress bar")
    return tqdm.tqdm(total=windows, desc="windows", unit="window", disable=not progress)
