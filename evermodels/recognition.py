"""What a model said about a recording: probabilities window by window, as a table, as text, as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from evermodels.core.specs import InputSpec

__all__ = ["Recognition", "Top"]


class Top(NamedTuple):
    """The most probable class over all windows.

    Args:
        label: Name of the class.
        probability: Its mean probability.
    """

    label: str
    probability: float


@dataclass(frozen=True, repr=False)
class Recognition:
    """What a model said about one recording, window by window; NumPy arrays only, so that it is easy to keep.

    Args:
        model: Name of the model.
        starts: Start of each window in seconds, ``(windows,)``.
        window_seconds: Length of a window in seconds.
        probabilities: Probability of each class, ``(windows, classes)``.
        classes: Names of the classes, in the order of the columns.
        embeddings: Embedding of each modality, ``(windows, dim)``, by modality.
        attention: What the model looked at, first axis the windows, by name; see the model's own documentation.
        inputs: What the model read: ``"eeg"`` ``(windows, channels, time)`` float32 in µV (or whitened or standardised,
            if the model asks for it), ``"video"`` ``(1, frames, 3, height, width)`` uint8, RGB, of the window
            ``shown``.
        input_spec: What the model asks for.
        shown: Index of the window that the model was surest of; its frames are kept.
        ch_names: Channels of the model, of which ``attention`` and ``regions`` speak: those of ``input_spec``, unless
            the model was adapted to the recording's montage.
        regions: Indices into ``ch_names`` by region of the head.
        facts: What is known about the model, ready for a page: name, parameters, data, licence, scores.
        quality: How well each window could be read, ``(windows,)`` by name, such as the share of frames with a face.
        notes: What this result cannot know, in whole sentences.
        against: What the EEG was compared with: ``"baseline"``, ``"recordings"`` of all states, ``"itself"`` (nothing
            was given), or ``""`` for a model that compares with nothing.
    """

    model: str
    starts: np.ndarray
    window_seconds: float
    probabilities: np.ndarray
    classes: tuple[str, ...]
    embeddings: Mapping[str, np.ndarray] = field(default_factory=dict)
    attention: Mapping[str, np.ndarray] = field(default_factory=dict)
    inputs: Mapping[str, np.ndarray] = field(default_factory=dict)
    input_spec: InputSpec = field(default_factory=InputSpec)
    shown: int = 0
    ch_names: tuple[str, ...] = ()
    regions: Mapping[str, Sequence[int]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    quality: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    against: str = ""

    def __post_init__(self) -> None:
        """Take the channels of the input spec where none are given."""
        if not self.ch_names and self.input_spec.eeg is not None:
            object.__setattr__(self, "ch_names", self.input_spec.eeg.ch_names)

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.starts)

    def __repr__(self) -> str:
        return f"Recognition({self.model!r}, {len(self)} windows, top={self.top.label!r} at {self.top.probability:.2f})"

    @property
    def top(self) -> Top:
        """The class with the largest mean probability, and that mean."""
        mean = self.probabilities.mean(axis=0)
        best = int(mean.argmax())
        return Top(self.classes[best], float(mean[best]))

    def to_table(self) -> list[dict[str, Any]]:
        """Return one row per window: ``start``, ``stop`` (seconds), ``top``, and the probability of every class.

        Example:
            >>> import numpy as np
            >>> result = Recognition("m", np.array([0.0]), 5.0, np.array([[0.25, 0.75]]), ("calm", "tense"))
            >>> result.to_table()
            [{'start': 0.0, 'stop': 5.0, 'top': 'tense', 'calm': 0.25, 'tense': 0.75}]
        """
        return [
            {
                "start": float(start),
                "stop": float(start) + self.window_seconds,
                "top": self.classes[int(row.argmax())],
                **{name: float(value) for name, value in zip(self.classes, row, strict=True)},
            }
            for start, row in zip(self.starts, self.probabilities, strict=True)
        ]

    def summary(self) -> str:
        """Return the table as text, one line per window and one for the mean.

        Example:
            >>> import numpy as np
            >>> result = Recognition("m", np.array([0.0]), 5.0, np.array([[0.25, 0.75]]), ("calm", "tense"))
            >>> print(result.summary())
              seconds  calm  tense
             0.0- 5.0  0.25   0.75  tense
                 mean  0.25   0.75  tense
        """
        widths = [max(len(name), 4) for name in self.classes]
        lines = ["  seconds  " + "  ".join(f"{n:>{w}}" for n, w in zip(self.classes, widths, strict=True))]
        for row in [*self.to_table(), None]:
            if row is None:
                label, values, best = "mean", self.probabilities.mean(axis=0), self.top.label
            else:
                label = f"{row['start']:.1f}-{row['stop']:4.1f}"
                values, best = np.array([row[name] for name in self.classes]), row["top"]
            cells = "  ".join(f"{v:{w}.2f}" for v, w in zip(values, widths, strict=True))
            lines.append(f"{label:>9}  {cells}  {best}")
        return "\n".join(lines)
