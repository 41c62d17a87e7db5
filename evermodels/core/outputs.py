"""The typed output that every system returns."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class EmotionOutput:
    """Output of a system; a registered pytree, so that ``torch.compile`` and ``torch.export`` return it too.

    Args:
        logits: Class scores before softmax, ``(batch, num_classes)``; with ``num_classes=0`` the fused embedding.
        embeddings: Embedding of each modality, ``(batch, dim)``, by modality name.
        attention: What the model looked at, by name; shapes are documented by each system.

    Example:
        >>> import torch
        >>> output = EmotionOutput(torch.tensor([[0.0, 0.0]]))
        >>> output.probabilities
        tensor([[0.5000, 0.5000]])
    """

    logits: Tensor
    embeddings: dict[str, Tensor] = field(default_factory=dict)
    attention: dict[str, Tensor] = field(default_factory=dict)

    @property
    def probabilities(self) -> Tensor:
        """Softmax of the logits, ``(batch, num_classes)``."""
        return self.logits.softmax(dim=-1)


torch.export.register_dataclass(EmotionOutput, serialized_type_name="evermodels.EmotionOutput")
