"""What is known about a model, as text for pages and listings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evermodels.checkpoints.card import CardInfo
from evermodels.checkpoints.scores import read_scores
from evermodels.core.specs import EEGSpec, InputSpec
from evermodels.core.text import one_line

__all__ = ["describe"]

_MOST_CLASSES = 20


def describe(model: Any) -> dict[str, Any]:
    """Return what is known about a model, as text by name, for pages and listings.

    Args:
        model: A model; a checkpoint's training provenance is used where it has one.

    Returns:
        Text by name, each of one line; ``not_this`` (what the model is not) and ``attribution`` are lists of text.

    Raises:
        ConfigError: If the model's ``provenance`` was set by hand to values that no checkpoint can hold.

    Example:
        >>> import evermodels as em
        >>> describe(em.create_model("ever_tiny"))["EEG"].split(",")[0]
        '19 channels'
    """
    facts: dict[str, Any] = {
        "architecture": one_line(getattr(model, "architecture", None) or type(model).__name__),
        "parameters": f"{sum(p.numel() for p in model.parameters()):,}",
    }
    if getattr(model, "classes", None):
        facts["classes"] = one_line(", ".join(model.classes[:_MOST_CLASSES])) + (
            f" and {left} more" if (left := len(model.classes) - _MOST_CLASSES) > 0 else ""
        )
    facts.update(_inputs(getattr(model, "input_spec", None)))
    made = getattr(getattr(model, "montage_adapter", None), "interpolated", None)
    if made:
        facts["interpolated"] = f"{len(made)} of the model's {len(model.config.ch_names)} channels: {', '.join(made)}"
    said = getattr(model, "provenance", None)
    if not isinstance(said, Mapping):
        return {**facts, "weights": "random: nothing was learned, and no probability means anything"}
    info = CardInfo().filled_from(said)
    for key in ("summary", "protocol", "recipe", "licence"):
        if value := getattr(info, key):
            facts[key] = one_line(value)
    if info.datasets:
        facts["datasets"] = one_line(", ".join(info.datasets))
    if info.scores:
        facts["scores"] = "; ".join(map(str, read_scores(info.scores)))
    report = getattr(model, "load_report", None)
    if report is not None and report.verified:
        facts["weights"] = f"sha256 checked against {report.verified}"
    for key in ("not_this", "attribution"):
        if texts := getattr(info, key):
            facts[key] = [one_line(text) for text in texts]
    return facts


def _compared(spec: EEGSpec) -> str:
    if not spec.whiten:
        return ""
    if spec.baseline:
        return f"; compared with a minute of the person's {spec.baseline}, recorded first"
    return "; compared with recordings of the person in all states"


def _inputs(spec: InputSpec | None) -> dict[str, str]:
    rows = {}
    if spec is not None and spec.eeg is not None:
        rows["EEG"] = (
            f"{len(spec.eeg.ch_names)} channels, {' '.join(spec.eeg.ch_names)}; {spec.eeg.sfreq:g} Hz; "
            f"windows of {spec.eeg.window_seconds:g} s" + _compared(spec.eeg)
        )
    if spec is not None and spec.video is not None:
        height, width = spec.video.size
        rows["video"] = f"{spec.video.num_frames} frames of {height} by {width} pixels a window"
    return rows
