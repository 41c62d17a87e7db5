"""What a model said about a recording: probabilities window by window, as a table, as text, as pictures."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from evermodels.core.errors import ConfigError, ShapeError
from evermodels.core.factors import JOIN, Factor, check_factors
from evermodels.core.files import write_whole
from evermodels.core.specs import InputSpec
from evermodels.core.text import csv_row, one_line
from evermodels.result_table import html_table, rows, text_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Recognition", "Top"]


class Top(NamedTuple):
    """The most probable class over all windows.

    Args:
        label: Name of the class; where a factor is not known, the values of those that are.
        probability: Its mean probability.
    """

    label: str
    probability: float


@dataclass(frozen=True, repr=False)
class Recognition:
    """What a model said about one recording, window by window; NumPy arrays only, so that it is easy to keep.

    Where the classes are combinations (``factors``) and a modality is absent, the result speaks of the factors that can
    be known: :attr:`top`, :meth:`to_table`, :meth:`summary` and the page sum over the others. The model's own numbers
    for all classes stay in ``probabilities``; in such a window they say nothing on the factor that is not known.

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
        factors: What the classes are the product of, where they are combinations.
        present: Whether each window has a modality, ``(windows,)`` bool by modality; one that is not named was there.
        events: What each window is a part of, such as the condition of its trial; empty where the recording has none.
        captions: What the model says on how to read a picture, by kind of attention or modality; see
            :mod:`evermodels.plots`, which knows a text for each.

    Raises:
        ShapeError: If the numbers of windows or classes differ, or a probability is not finite.
        ConfigError: If the classes are not the product of the factors, or none of these can be known in any window.
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
    factors: tuple[Factor, ...] = ()
    present: Mapping[str, np.ndarray] = field(default_factory=dict)
    events: tuple[str, ...] = ()
    captions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check lengths and values; take the channels of the input spec where none are given."""
        if not self.ch_names:
            object.__setattr__(self, "ch_names", self.input_spec.ch_names)
        windows, shape = len(self.starts), np.shape(self.probabilities)
        if not windows or shape != (windows, len(self.classes)):
            raise ShapeError(
                f"probabilities: expected ({windows}, {len(self.classes)}) for the starts and classes, at least one of "
                f"each, got {shape}."
            )
        if not np.isfinite(self.probabilities).all():
            raise ShapeError(
                "probabilities: expected finite values, got NaN or infinities. No class follows from them."
            )
        for kind in ("quality", "present"):
            for name, values in getattr(self, kind).items():
                if np.shape(values) != (windows,):
                    raise ShapeError(f"{kind}[{name!r}]: expected ({windows},), got {np.shape(values)}.")
        if len(self.events) not in (0, windows):
            raise ShapeError(f"events: expected one for each of {windows} windows or none, got {len(self.events)}.")
        check_factors(self.factors, self.classes)
        every = np.ones(windows, dtype=bool)
        named = [*self.input_spec.modalities, *(m for factor in self.factors for m in factor.modalities)]
        present = {name: np.asarray(self.present.get(name, every), dtype=bool) for name in dict.fromkeys(named)}
        object.__setattr__(self, "present", {**self.present, **present})
        if self.factors and not any(known.any() for known in self.known.values()):
            asked = "; ".join(f"{f.name} from {' or '.join(f.modalities)}" for f in self.factors)
            raise ConfigError(f"present: with what is there nothing can be known. The model tells {asked}. Give that.")

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.starts)

    def __repr__(self) -> str:
        top = self.top
        unknown = "".join(f", {f.name} not known" for f in self.factors if not self.known[f.name].any())
        return f"Recognition({self.model!r}, {len(self)} windows, top={top.label!r} at {top.probability:.2f}{unknown})"

    def _repr_html_(self) -> str:
        return html_table(self)

    @property
    def known(self) -> dict[str, np.ndarray]:
        """Whether each factor can be known in a window, ``(windows,)`` bool by name."""
        return {f.name: np.broadcast_to(f.known(self.present), (len(self),)) for f in self.factors}

    @property
    def marginals(self) -> dict[str, np.ndarray]:
        """Probability of each factor's values, ``(windows, values)`` by name; NaN in windows where it is not known.

        Example:
            >>> factors = (Factor("state", ("rest", "work"), ("eeg",)), Factor("face", ("calm", "glad"), ("video",)))
            >>> classes = ("rest & calm", "rest & glad", "work & calm", "work & glad")
            >>> joint = np.array([[0.125, 0.125, 0.25, 0.5]])
            >>> absent = {"video": np.array([False])}
            >>> result = Recognition("m", np.zeros(1), 5.0, joint, classes, factors=factors, present=absent)
            >>> result.marginals["state"].tolist(), result.marginals["face"].tolist()
            ([[0.25, 0.75]], [[nan, nan]])
            >>> result.top
            Top(label='work', probability=0.75)
        """
        return {
            f.name: np.where(self.known[f.name][:, None], self._sum_over_others([k]), np.nan)
            for k, f in enumerate(self.factors)
        }

    @property
    def all_known(self) -> np.ndarray:
        """Whether all that the classes say can be known, ``(windows,)`` bool."""
        return np.logical_and.reduce([*self.known.values(), np.ones(len(self), dtype=bool)])

    @property
    def answers(self) -> tuple[tuple[str, ...], np.ndarray]:
        """What :attr:`top` chooses from: labels, and their probability in each window.

        The classes; where a factor is known nowhere, what the others make together. ``(windows, labels)``, NaN in
        windows where less is known than elsewhere.
        """
        sets = self._known_sets()
        most = max(sets, key=lambda kept: (len(kept), len(sets[kept])))
        labels, values = self._answers(most)
        here = np.zeros((len(self), 1), dtype=bool)
        here[sets[most]] = True
        return tuple(labels), np.where(here, values, np.nan)

    @property
    def top(self) -> Top:
        """The class with the largest mean probability, and that mean, over the windows in which most is known."""
        labels, values = self.answers
        mean = np.nanmean(values, axis=0)
        best = int(mean.argmax())
        return Top(labels[best], float(mean[best]))

    @property
    def tops(self) -> tuple[str | None, ...]:
        """The most probable class of each window, of what is known there; ``None`` where nothing is."""
        tops: list[str | None] = [None] * len(self)
        for kept, windows in self._known_sets().items():
            labels, values = self._answers(kept)
            for window in windows if labels else ():
                tops[window] = labels[int(values[window].argmax())]
        return tuple(tops)

    @property
    def gaps(self) -> tuple[str, ...]:
        """What was absent, and what is therefore not known, a line each."""
        lines = []
        explained = set()
        for factor in self.factors:
            missing = ~self.known[factor.name]
            if missing.any():
                what = f"{factor.name} ({_either(factor.values)})"
                where = "" if missing.all() else f" in {missing.sum()} of {len(self)} windows"
                lines.append(f"{what}: not known{where}, {self._why(factor.modalities, bool(missing.all()))}")
                explained |= set(factor.modalities)
        for modality in self.input_spec.modalities:
            missing = ~self.present[modality]
            if modality not in explained and missing.any():
                where = "" if missing.all() else f" in {missing.sum()} of {len(self)} windows"
                lines.append(f"{modality}: absent{where}, the model answers from the rest")
        return tuple(lines)

    def to_table(self) -> list[dict[str, Any]]:
        """Return one row per window, with the same columns in each.

        ``start`` and ``stop`` in seconds; ``event``, where the recording has events; ``top``, the most probable class
        of what is known; ``p(CLASS)``, the probability of each class; ``FACTOR: VALUE``, the probability of each value
        of each factor, where the classes are combinations; ``absent``, the modalities that a window lacks, where one
        does; ``quality: NAME``, how well the window could be read. A cell is ``None`` where the window does not tell; a
        column of which no window tells is left out.

        Example:
            >>> result = Recognition("m", np.array([0.0]), 5.0, np.array([[0.25, 0.75]]), ("calm", "tense"))
            >>> result.to_table()
            [{'start': 0.0, 'stop': 5.0, 'top': 'tense', 'p(calm)': 0.25, 'p(tense)': 0.75}]
        """
        return rows(self)

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        r"""Return the table as CSV, and write it where a path is given.

        The columns are those of :meth:`to_table`; what is not known is empty. A text that a spreadsheet would take for
        a formula gets an apostrophe before it.

        Args:
            path: Where the file goes; it is complete or it is not there.

        Raises:
            ConfigError: If the file cannot be written.

        Example:
            >>> result = Recognition("m", np.array([0.0]), 5.0, np.array([[0.25, 0.75]]), ("calm", "=1+1"))
            >>> print(result.to_csv().replace("\r", ""))
            start,stop,top,p(calm),p(=1+1)
            0.0,5.0,'=1+1,0.25,0.75
            <BLANKLINE>
        """
        table = [csv_row(row) for row in self.to_table()]
        stream = io.StringIO(newline="")
        writer = csv.DictWriter(stream, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
        text = stream.getvalue()
        if path is not None:
            write_whole(Path(path), text)
        return text

    def summary(self) -> str:
        """Return the table as text, one line per window, one for the mean, and what is not known.

        Of more than eight classes the five most probable ones are shown.

        Example:
            >>> result = Recognition("m", np.array([0.0]), 5.0, np.array([[0.25, 0.75]]), ("calm", "tense"))
            >>> print(result.summary())
              seconds  calm  tense
             0.0- 5.0  0.25   0.75  tense
                 mean  0.25   0.75  tense
        """
        return "\n".join([text_table(self), *(one_line(gap) for gap in self.gaps)])

    def plot(self, picture: str = "probabilities", /, **settings: Any) -> Figure:
        """Draw a picture of the result; see :func:`evermodels.plots.plot_result`.

        Args:
            picture: ``"probabilities"`` over time; a kind of attention that it holds, such as ``"channels"``; a
                modality whose input it holds, such as ``"eeg"``; or ``"spectrogram"``.
            **settings: Further arguments of the function of :mod:`evermodels.plots` that draws it.

        Raises:
            ConfigError: If there is no such picture, or the result holds nothing for it.
            MissingExtraError: If matplotlib is absent.

        Example:
            >>> result = Recognition("m", np.array([0.0]), 5.0, np.array([[0.25, 0.75]]), ("calm", "tense"))
            >>> result.plot().axes[0].get_ylabel()
            'probability'
        """
        from evermodels import plots

        return plots.plot_result(self, picture, **settings)

    def _known_sets(self) -> dict[tuple[int, ...], np.ndarray]:
        """Return the windows in which the same factors are known, by the factors' numbers."""
        if not self.factors:
            return {(): np.arange(len(self))}
        table = np.stack([self.known[f.name] for f in self.factors], axis=1)
        sets: dict[tuple[int, ...], list[int]] = {}
        for window, row in enumerate(table):
            sets.setdefault(tuple(np.flatnonzero(row).tolist()), []).append(window)
        return {kept: np.array(windows) for kept, windows in sets.items()}

    def _answers(self, kept: Sequence[int]) -> tuple[list[str], np.ndarray]:
        """Return the labels that some factors make together, and their probabilities, ``(windows, labels)``."""
        if not self.factors:
            return list(self.classes), self.probabilities
        labels = [""]
        for k in kept:
            labels = [JOIN.join(filter(None, (label, value))) for label in labels for value in self.factors[k].values]
        return labels if kept else [], self._sum_over_others(kept)

    def _sum_over_others(self, kept: Sequence[int]) -> np.ndarray:
        sizes = [len(f.values) for f in self.factors]
        others = tuple(1 + k for k in range(len(sizes)) if k not in kept)
        return self.probabilities.reshape(len(self), *sizes).sum(axis=others).reshape(len(self), -1)

    def _why(self, modalities: Sequence[str], nowhere: bool) -> str:
        takes = self.input_spec.modalities
        if takes and not set(modalities) & set(takes):
            return f"the model takes no {_either(modalities)}"
        given = not nowhere or any(modality in self.inputs for modality in modalities)
        return f"no usable {_either(modalities)} there" if given else f"no {_either(modalities)} was given"


def _either(words: Sequence[str]) -> str:
    return " or ".join(words)
