"""What is known about a model, as text for pages and listings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evermodels.core.specs import InputSpec

__all__ = ["describe"]


def _score(value: Any) -> str:
    if isinstance(value, Mapping) and "value" in value:
        interval = f" [{value['low']:.3f}, {value['high']:.3f}]" if {"low", "high"} <= set(value) else ""
        return f"{value['value']:.3f}{interval}"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def describe(model: Any) -> dict[str, Any]:
    """Return what is known about a model, as text by name, for pages and listings.

    Args:
        model: A model; a checkpoint's training provenance is used where it has one.

    Returns:
        Text by name; ``not_this`` (what the model is not) and ``attribution`` are lists of text.

    Example:
        >>> import evermodels as em
        >>> describe(em.create_model("ever_tiny"))["EEG"].split(",")[0]
        '19 channels'
    """
    facts: dict[str, Any] = {
        "architecture": getattr(model, "architecture", None) or type(model).__name__,
        "parameters": f"{sum(p.numel() for p in model.parameters()):,}",
    }
    if getattr(model, "classes", None):
        facts["classes"] = ", ".join(model.classes)
    facts.update(_inputs(getattr(model, "input_spec", None)))
    made = getattr(getattr(model, "montage_adapter", None), "interpolated", None)
    if made:
        facts["interpolated"] = f"{len(made)} of the model's {len(model.config.ch_names)} channels: {', '.join(made)}"
    said = getattr(model, "provenance", None)
    if not isinstance(said, Mapping):
        return {**facts, "weights": "random: nothing was learned, and no probability means anything"}
    for key in ("summary", "datasets", "protocol", "recipe", "licence"):
        value = said.get(key)
        if value:
            facts[key] = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    if isinstance(said.get("scores"), Mapping):
        facts["scores"] = "; ".join(f"{name} {_score(value)}" for name, value in said["scores"].items())
    report = getattr(model, "load_report", None)
    if report is not None and report.verified:
        facts["weights"] = f"sha256 checked against {report.verified}"
    for key in ("not_this", "attribution"):
        if said.get(key):
            facts[key] = [str(text) for text in said[key]]
    return facts


def _inputs(spec: InputSpec | None) -> dict[str, str]:
    rows = {}
    if spec is not None and spec.eeg is not None:
        rows["EEG"] = (
            f"{len(spec.eeg.ch_names)} channels, {' '.join(spec.eeg.ch_names)}; {spec.eeg.sfreq:g} Hz; "
            f"windows of {spec.eeg.window_seconds:g} s"
            + ("; calibrated to the person, each channel's spectrum made flat" if spec.eeg.whiten else "")
        )
    if spec is not None and spec.video is not None:
        height, width = spec.video.size
        rows["video"] = f"{spec.video.num_frames} frames of {height} by {width} pixels a window"
    return rows
