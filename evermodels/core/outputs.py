"""The typed output that every system returns, and the closed table of the kinds of attention."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

ATTENTION: dict[str, tuple[str, ...]] = {
    "channels": ("channels",),
    "regions": ("regions",),
    "region_share": ("regions",),
    "frames": ("frames",),
    "time": ("time",),
    "modalities": ("modalities",),
    "adjacency_local": ("channels", "channels"),
    "adjacency_region": ("nodes", "nodes"),
}
"""Kinds of attention and their axes without the batch; each has its picture in :mod:`evermodels.plots`.

``regions`` ranks the regions among themselves, ``region_share`` says how much they count; ``frames`` are those of the
video, ``time`` the steps of a sequence, ``modalities`` in the order of the input spec, ``nodes`` the two modalities and
then the regions.
"""


@dataclass
class EmotionOutput:
    """Output of a system; a registered pytree, so that ``torch.compile`` and ``torch.export`` return it too.

    Args:
        logits: Class scores before softmax, ``(batch, num_classes)``; ``(batch, 0)`` with ``num_classes=0``.
        embedding: What the classifier reads, of all modalities together, ``(batch, dim)``.
        embeddings: Embedding of each modality, ``(batch, dim)``, by modality name.
        attention: What the model looked at, by the kinds of :data:`ATTENTION`, each with the batch first.

    Example:
        >>> import torch
        >>> output = EmotionOutput(torch.tensor([[0.0, 0.0]]))
        >>> output.probabilities
        tensor([[0.5000, 0.5000]])
    """

    logits: Tensor
    embedding: Tensor | None = None
    embeddings: dict[str, Tensor] = field(default_factory=dict)
    attention: dict[str, Tensor] = field(default_factory=dict)

    def __repr__(self) -> str:
        held = [*self.embeddings, *(f"attention {kind!r}" for kind in self.attention)]
        more = f" of {', '.join(held)}" if held else ""
        return f"<{type(self).__name__}: logits {tuple(self.logits.shape)}{more}>"

    @property
    def probabilities(self) -> Tensor:
        """Softmax of the logits, ``(batch, num_classes)``."""
        return self.logits.softmax(dim=-1)


@dataclass
class AlignableOutput(EmotionOutput):
    """Output of a system whose loss brings the modalities of a sample together, but not of every sample.

    Args:
        alignable: Which samples are, ``(batch,)`` bool; ``None`` for all.
    """

    alignable: Tensor | None = None


torch.export.register_dataclass(EmotionOutput, serialized_type_name="evermodels.EmotionOutput")
torch.export.register_dataclass(AlignableOutput, serialized_type_name="evermodels.AlignableOutput")
