"""What is known about a model, as text for pages and listings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evermodels.checkpoints.card import CardInfo
from evermodels.checkpoints.scores import read_scores
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
        >>> describe(em.create_model("ever_tiny"))["EEG"].split(" (")[0]
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
    spec = getattr(model, "input_spec", None)
    facts.update({} if spec is None else {title: ". ".join(sentences) for title, sentences in spec.describe().items()})
    adapter = getattr(model, "montage_adapter", None)
    made = None if adapter is None else adapter.interpolated
    if made:
        facts["interpolated"] = f"{len(made)} of the model's {len(model.config.ch_names)} channels: {', '.join(made)}"
    provenance = getattr(model, "provenance", None)
    if not isinstance(provenance, Mapping):
        return {**facts, "weights": "random: nothing was learned, and no probability means anything"}
    info = CardInfo().filled_from(provenance)
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
