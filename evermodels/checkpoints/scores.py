"""Scores of a checkpoint: each number with its interval, on whom it was measured, and whether transductively.

In ``training.scores`` of a ``config.json`` they stand by metric: a number, a mapping with the keys of :class:`Score`,
or a list of such mappings where one metric was measured on several groups of people::

    "scores": {"UAR": [{"value": 0.69, "low": 0.60, "high": 0.78, "people": "6 test people", "transductive": true},
                       {"value": 0.61, "people": "all 36 by folds"}]}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evermodels.core.config import Config
from evermodels.core.errors import ConfigError
from evermodels.core.text import LABEL_RULE, is_label


@dataclass(frozen=True)
class Score(Config):
    """One number with its interval, and what it stands for.

    Args:
        metric: Name of the metric, such as ``"UAR"``.
        value: The value.
        low: Lower end of the 95 % interval, where known.
        high: Upper end of the 95 % interval, where known.
        people: On whom it was measured, such as ``"6 test people"`` or ``"all 36 by folds"``.
        transductive: Whether unlabelled recordings of the test people were used before the test.
        where: On what it was measured where that is not all of the data, such as ``"after a minute of rest"``.

    Example:
        >>> str(Score("UAR", 0.731, 0.69, 0.77))
        'UAR 0.731 [0.690, 0.770]'
        >>> str(Score("UAR", 0.731, people="6 test people", transductive=True))
        'UAR 0.731 (6 test people, transductive)'
    """

    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    people: str | None = None
    transductive: bool = False
    where: str | None = None

    def check(self) -> None:
        """Refuse half an interval, an interval the wrong way round, and names that are none."""
        if (self.low is None) != (self.high is None):
            raise self.refuse("low", "both low and high, or neither")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise self.refuse("low", f"at most high ({self.high!r})")
        for key in ("metric", "people", "where"):
            value = getattr(self, key)
            if value is not None and not is_label(value):
                raise self.refuse(key, LABEL_RULE)

    @property
    def slice(self) -> str:
        """On whom and on what it was measured, and whether transductively; empty where nothing was said."""
        said = (self.people, self.where, "transductive" if self.transductive else None)
        return ", ".join(text for text in said if text)

    @property
    def name(self) -> str:
        """The metric with its slice, for a place where the number stands alone."""
        return f"{self.metric} ({self.slice})" if self.slice else self.metric

    @property
    def interval(self) -> str:
        """The interval as text, empty where there is none."""
        return "" if self.low is None or self.high is None else f"{_number(self.low)} to {_number(self.high)}"

    @property
    def number(self) -> str:
        """The value as text with three decimals."""
        return _number(self.value)

    def said(self) -> dict[str, Any]:
        """Return the keys that say something, as plain JSON."""
        return {key: value for key, value in self.to_dict().items() if value not in (None, False)}

    def __str__(self) -> str:
        interval = f" [{self.interval.replace(' to ', ', ')}]" if self.interval else ""
        return f"{self.metric} {self.number}{interval}" + (f" ({self.slice})" if self.slice else "")


def read_scores(scores: Mapping[str, Any] | None) -> tuple[Score, ...]:
    """Return the scores of a checkpoint, one by one.

    Args:
        scores: By metric a number, a mapping with the keys of :class:`Score`, or a list of these.

    Raises:
        ConfigError: If a value is something else, or a metric has two values for the same slice.

    Example:
        >>> [str(score) for score in read_scores({"UAR": [0.7, {"value": 0.6, "people": "all 36 by folds"}]})]
        ['UAR 0.700', 'UAR 0.600 (all 36 by folds)']
    """
    found = []
    for metric, value in (scores or {}).items():
        where = f"scores.{metric}"
        for one in value if isinstance(value, (list, tuple)) else [value]:
            given = one if isinstance(one, Mapping) else {"value": one}
            if "metric" in given:
                raise ConfigError(f"{where}: the metric stands before the value. Take the key 'metric' out.")
            found.append(Score.from_dict({"metric": metric, **given}, where=where))
        slices = [score.slice for score in found if score.metric == metric]
        if len(set(slices)) != len(slices):
            raise ConfigError(f"{where}: two values for the same people. Say on whom with 'people' and 'where'.")
    return tuple(found)


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 1e6 else f"{value:.4g}"
