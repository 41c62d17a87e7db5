"""What EVER refuses, and which samples have which modality."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from evermodels.core.errors import ConfigError, ShapeError, SignalError, check_axes
from evermodels.models.ever_config import EVERConfig, Modality


def check_inputs(
    config: EVERConfig,
    eeg: Tensor | None,
    video: Tensor | None,
    others: Mapping[str, Any],
    *,
    present: Mapping[str, Tensor] | None,
    masks: Mapping[str, Tensor] | None,
) -> dict[Modality, Tensor]:
    """Return the inputs by modality, of the right shape.

    Raises:
        ShapeError: If a shape is wrong or no modality is there.
        ConfigError: If a modality or argument comes that the model does not take.
    """
    takes = " and ".join(config.modalities)
    for name, value in (*others.items(), ("eeg", eeg), ("video", video)):
        if value is not None and name not in config.modalities:
            raise ConfigError(f"{name}: this EVER takes {takes} only. Leave {name!r} out.")
    if masks:
        raise ConfigError(f"masks: EVER has no valid-frame or valid-channel masks, got {', '.join(masks)}.")
    for name in present or ():
        if name not in config.modalities:
            raise ConfigError(f"present: this EVER takes {takes} only, got {name!r}.")
    inputs: dict[Modality, Tensor] = {}
    if eeg is not None:
        _check_eeg(config, eeg)
        inputs["eeg"] = eeg
    if video is not None:
        names = "batch frames channels height width"
        height, width = config.img_size
        check_axes("video", video, names, frames=config.num_frames, channels=3, height=height, width=width)
        inputs["video"] = video
    if not inputs:
        raise ShapeError(f"eeg, video: every modality is absent. Give at least one of {takes}.")
    if eeg is not None and video is not None and eeg.shape[0] != video.shape[0]:
        raise ShapeError(
            f"eeg, video: expected the same batch size, got eeg {eeg.shape[0]}, video {video.shape[0]}. "
            'A sample without one of them still has a row; say so with present={"video": ...}.'
        )
    return inputs


def _check_eeg(config: EVERConfig, eeg: Tensor) -> None:
    check_axes("eeg", eeg, "batch channels time")
    channels, time = eeg.shape[1:]
    expected = config.recorded_ch_names
    if channels != len(expected):
        raise ShapeError(
            f"eeg: expected (batch, channels, time) with the {len(expected)} channels {', '.join(expected)}, got "
            f"{channels} channels (shape {tuple(eeg.shape)}). Pick and order them by name with "
            "evermodels.signals.Preprocessor, or carry the model to your channels with adapt_montage(ch_names)."
        )
    if time < config.window_length:
        raise ShapeError(
            f"eeg: expected at least n_fft={config.window_length} samples, got {time}. Give a longer window "
            f"(the model was built for {config.window_seconds:g} s), or build EVER with a smaller n_fft."
        )


def check_finite(config: EVERConfig, modality: Modality, x: Tensor) -> None:
    """Refuse NaN and infinities, in eager mode only: the sum finds them in one pass.

    Raises:
        SignalError: If there is one, with the channels that hold it.
    """
    if torch.compiler.is_compiling() or x.is_meta:
        return
    if torch.isfinite(x.sum(dtype=torch.float64 if x.dtype == torch.float64 else torch.float32)):
        return
    bad = ~torch.isfinite(x)
    if modality == "eeg":
        here = bad.any(dim=2).any(dim=0).tolist()
        names = [name for name, wrong in zip(config.recorded_ch_names, here, strict=True) if wrong]
        if names:
            raise SignalError(
                f"eeg: {int(bad.sum())} values are NaN or infinite, in channels {', '.join(names)}. Interpolate or "
                'drop that stretch, or say that the sample has no EEG with present={"eeg": ...}.'
            )
    elif bad.any():
        raise SignalError(
            f"video: {int(bad.sum())} values are NaN or infinite. Check the normalisation, or say that the sample "
            'has no video with present={"video": ...}.'
        )


def presence_of(
    config: EVERConfig, inputs: Mapping[Modality, Tensor], present: Mapping[str, Tensor] | None
) -> dict[Modality, Tensor] | None:
    """Return a ``(batch,)`` bool for each modality, or ``None`` where all is there.

    Raises:
        ShapeError: If a flag has another length, or a sample has no modality.
        ConfigError: If a flag is not bool.
    """
    if not present and len(inputs) == len(config.modalities):
        return None
    some = next(iter(inputs.values()))
    presence: dict[Modality, Tensor] = {}
    for modality in config.modalities:
        given = None if present is None else present.get(modality)
        if given is None:
            given = torch.full((some.shape[0],), modality in inputs, dtype=torch.bool, device=some.device)
        check_axes(f"present[{modality!r}]", given, "batch", batch=some.shape[0])
        if given.dtype != torch.bool:
            raise ConfigError(f"present[{modality!r}]: expected bool, got {given.dtype}. Convert it with .bool().")
        presence[modality] = given.to(some.device)
    if not torch.compiler.is_compiling() and not some.is_meta:
        for modality in config.modalities:
            if modality not in inputs and bool(presence[modality].any()):
                raise ShapeError(f"present[{modality!r}]: says that samples have {modality}, but {modality} is None.")
        nothing = ~torch.stack(list(presence.values())).any(dim=0)
        if bool(nothing.any()):
            raise ShapeError(
                f"present: samples {nothing.nonzero().flatten().tolist()} have no modality. Leave them out."
            )
    return presence
