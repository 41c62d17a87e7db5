"""From ratings on a scale of 1 to 9 to classes: one named rule for each scheme of the papers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evermodels.core.errors import DataError, UnknownNameError, did_you_mean, quoted

LOWEST, HIGHEST = 1.0, 9.0


@dataclass(frozen=True)
class LabelRule:
    """How ratings of 1 to 9 become classes.

    A rule of one rating takes any of them (valence, arousal, dominance, …), one of two takes valence and arousal.

    Args:
        name: Its name.
        source: Where it stands.
        cuts: Where the levels of one rating begin, but the lowest; a rating on a cut belongs to the level above.
        classes: Names of the classes, in the order of the labels.
        order: Of a rule of two ratings the label by level of arousal, then of valence; ``None`` for one rating.
        ties: Where ties and non-integers go, and whether the paper says so.

    Example:
        >>> label_rule("milmer_deap4")(valence=[5.0, 4.9], arousal=[7.2, 5.0]).tolist()
        [0, 1]
        >>> label_rule("ever_five")(arousal=[1, 4.4, 5, 9]).tolist()
        [0, 1, 2, 4]
    """

    name: str
    source: str
    cuts: tuple[float, ...]
    classes: tuple[str, ...]
    ties: str
    order: tuple[tuple[int, int], tuple[int, int]] | None = None

    @property
    def ratings(self) -> tuple[str, ...]:
        """Ratings that it takes; empty for any single one."""
        return () if self.order is None else ("valence", "arousal")

    def __call__(self, **ratings: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return the label of each sample.

        Args:
            **ratings: Numbers from 1 to 9 by the rating's name, a list or array each, of the same length.

        Returns:
            Indices into ``classes``, int64, in the shape of the ratings.

        Raises:
            DataError: If a rating is missing or one too many, lies outside 1 to 9, is no number, or lengths differ.
        """
        wanted = self.ratings
        if (wanted and set(ratings) != set(wanted)) or (not wanted and len(ratings) != 1):
            raise DataError(
                f"{self.name}: expected {' and '.join(wanted) or 'one rating by its name'}, got "
                f"{', '.join(ratings) or 'none'}."
            )
        levels = {name: self._levels(name, values) for name, values in ratings.items()}
        if self.order is None:
            (only,) = levels.values()
            return only
        valence, arousal = levels["valence"], levels["arousal"]
        if valence.shape != arousal.shape:
            raise DataError(
                f"{self.name}: expected as many ratings of valence as of arousal, got {valence.shape} and "
                f"{arousal.shape}."
            )
        return np.asarray(self.order, np.int64)[arousal, valence]

    def _levels(self, name: str, values: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
        try:
            numbers = np.asarray(values, np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"{name}: expected numbers from 1 to 9, got {quoted(values)}.") from error
        good = (numbers >= LOWEST) & (numbers <= HIGHEST)  # false for NaN too
        if not good.all():
            raise DataError(
                f"{name}: expected ratings from 1 to 9, got {numbers[~good].ravel()[0]:g} and {int((~good).sum()) - 1} "
                "more that are none. Leave those samples out, or bring another scale to 1 to 9 first."
            )
        return np.searchsorted(np.asarray(self.cuts), numbers, side="right").astype(np.int64)


_ROUNDED = (
    "The paper prints whole numbers; ratings between them go to the nearest one, halves up (a choice): the cuts lie "
    "at {}."
)
_LEVELS_3 = ("low", "medium", "high")

LABEL_RULES: dict[str, LabelRule] = {
    rule.name: rule
    for rule in (
        LabelRule(
            "milmer_deap2",
            "Milmer, section 4.1, DEAP-2",
            (5.0,),
            ("low", "high"),
            "Low is below 5 and high above; 5 itself stands in neither. It goes to high (a choice), as in DEAP-4.",
        ),
        LabelRule(
            "milmer_deap3",
            "Milmer, section 4.1, DEAP-3",
            (3.5, 6.5),
            _LEVELS_3,
            _ROUNDED.format("3.5 and 6.5"),
        ),
        LabelRule(
            "milmer_deap4",
            "Milmer, eq. 5, DEAP-4",
            (5.0,),
            ("HAHV", "HALV", "LAHV", "LALV"),
            "5 belongs to high in both, as printed. The authors' code puts most ties into its last class.",
            order=((3, 2), (1, 0)),
        ),
        LabelRule(
            "mercl_2",
            "MERCL, Table 1",
            (5.5,),
            ("low", "high"),
            _ROUNDED.format("5.5"),
        ),
        LabelRule(
            "mercl_3",
            "MERCL, Table 2",
            (3.5, 6.5),
            _LEVELS_3,
            _ROUNDED.format("3.5 and 6.5") + " Table 2 calls low arousal activated and high arousal deactivated; the "
            "names here say what the numbers say.",
        ),
        LabelRule(
            "mercl_4",
            "MERCL, section 4.3: Table 1 in both dimensions",
            (5.5,),
            ("HVHA", "LVHA", "LVLA", "HVLA"),
            _ROUNDED.format("5.5"),
            order=((2, 3), (1, 0)),
        ),
        LabelRule(
            "ever_five",
            "EVER, section 4.1: {1, 2}, {3, 4}, {5}, {6, 7}, {8, 9}",
            (2.5, 4.5, 5.5, 7.5),
            ("very low", "low", "neutral", "high", "very high"),
            _ROUNDED.format("2.5, 4.5, 5.5 and 7.5"),
        ),
    )
}
"""The closed table of rules by name."""


def label_rule(name: str) -> LabelRule:
    """Return a rule by its name.

    Args:
        name: A key of :data:`LABEL_RULES`.

    Raises:
        UnknownNameError: If there is no such rule.

    Example:
        >>> label_rule("mercl_3").classes
        ('low', 'medium', 'high')
    """
    if name not in LABEL_RULES:
        raise UnknownNameError(
            f"label_rule: {quoted(name)} does not exist.{did_you_mean(name, LABEL_RULES)} There are: "
            f"{', '.join(LABEL_RULES)}."
        )
    return LABEL_RULES[name]


def rule_table() -> Sequence[tuple[str, str, str, str]]:
    """Return name, source, classes and what becomes of ties, one row a rule, for documentation.

    Example:
        >>> [row[0] for row in rule_table()][:2]
        ['milmer_deap2', 'milmer_deap3']
    """
    return [(rule.name, rule.source, ", ".join(rule.classes), rule.ties) for rule in LABEL_RULES.values()]
