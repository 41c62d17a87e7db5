"""Classes that are combinations: which of their halves a model can know when a modality is absent."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evermodels.core.config import Config
from evermodels.core.errors import ConfigError, did_you_mean
from evermodels.core.specs import MODALITIES
from evermodels.core.text import LABEL_RULE, doubled, is_label

JOIN = " & "
"""What stands between the values in the name of a class."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TAKEN = ("absent", "quality")  # columns of a result's table begin with them
_MOST_CLASSES = 100_000


@dataclass(frozen=True)
class Factor(Config):
    """One of the questions that the classes of a model answer together, such as arousal in arousal × valence.

    Args:
        name: Its name: lower-case letters, digits and underscores.
        values: The answers, in the order of the classes.
        modalities: What tells it; it is known where at least one of them is there.

    Raises:
        ConfigError: If a name or value cannot be used.

    Example:
        >>> state = Factor("state", ("rest", "arithmetic"), ("eeg",))
        >>> state.known({"eeg": False, "video": True})
        False
    """

    name: str
    values: tuple[str, ...]
    modalities: tuple[str, ...]

    def check(self) -> None:
        """Refuse empty and doubled values, and names that no column could have."""
        if not _NAME.fullmatch(self.name) or self.name in _TAKEN:
            raise self.refuse(
                "name",
                f"lower-case letters, digits and underscores, beginning with a letter, and none of {', '.join(_TAKEN)}",
            )
        for key in ("values", "modalities"):
            words = getattr(self, key)
            if not words or doubled(words) or not all(map(is_label, words)):
                raise self.refuse(key, f"at least one, each once, each {LABEL_RULE}")
        if not set(self.modalities) <= set(MODALITIES):
            raise self.refuse("modalities", f"some of {', '.join(MODALITIES)}")

    def known(self, present: Mapping[str, Any]) -> Any:
        """Return whether the factor can be known.

        Args:
            present: Whether each modality is there, as bool or as array of bools; what is not named is not there.

        Returns:
            A bool, or an array of the same shape.
        """
        answer: Any = False
        for modality in self.modalities:
            answer = answer | present.get(modality, False)
        return answer


def product_classes(factors: Sequence[Factor]) -> tuple[str, ...]:
    """Return the classes that factors make together, the last factor's value changing first.

    Args:
        factors: The factors.

    Raises:
        ConfigError: If there are more than 100,000.

    Example:
        >>> product_classes([Factor("a", ("low", "high"), ("eeg",)), Factor("b", ("x", "y"), ("video",))])
        ('low & x', 'low & y', 'high & x', 'high & y')
    """
    count = 1
    for factor in factors:
        count *= len(factor.values)
    if count > _MOST_CLASSES:
        raise ConfigError(f"factors: expected at most {_MOST_CLASSES:,} classes as their product, got {count:,}.")
    return tuple(JOIN.join(values) for values in itertools.product(*(factor.values for factor in factors)))


def factor_levels(factors: Sequence[Factor], name: str) -> tuple[int, ...]:
    """Return which value of one factor each class has.

    Args:
        factors: The factors that the classes are the product of.
        name: The factor's name.

    Returns:
        The value's place in :attr:`Factor.values`, for each class.

    Raises:
        ConfigError: If there is no such factor.

    Example:
        >>> factors = [Factor("a", ("low", "high"), ("eeg",)), Factor("b", ("x", "y", "z"), ("video",))]
        >>> factor_levels(factors, "b")
        (0, 1, 2, 0, 1, 2)
    """
    names = [factor.name for factor in factors]
    if name not in names:
        raise ConfigError(
            f"factor: expected one of {', '.join(names) or 'none, as the classes are no product of factors'}, got "
            f"{name!r}.{did_you_mean(name, names)}"
        )
    values = itertools.product(*(range(len(factor.values)) for factor in factors))
    return tuple(combination[names.index(name)] for combination in values)


def check_factors(factors: Sequence[Factor], classes: Sequence[str] | None) -> None:
    """Refuse factors whose product is not the classes.

    Args:
        factors: The factors; none is right for any classes.
        classes: The classes in the order of the logits, or ``None`` where they have no names.

    Raises:
        ConfigError: If two factors have one name, or the classes are not their product.

    Example:
        >>> state = Factor("state", ("rest", "arithmetic"), ("eeg",))
        >>> check_factors([state], ["arithmetic", "rest"])
        Traceback (most recent call last):
            ...
        evermodels.core.errors.ConfigError: factors: their product is 'rest', 'arithmetic', and the classes are ...
    """
    if not factors:
        return
    names = [factor.name for factor in factors]
    if len(set(names)) != len(names):
        raise ConfigError(f"factors: expected names that differ, got {', '.join(names)}.")
    product = product_classes(factors)
    if classes is None or tuple(classes) != product:
        given = "not named" if classes is None else ", ".join(map(repr, classes))
        raise ConfigError(
            f"factors: their product is {', '.join(map(repr, product))}, and the classes are {given}. Give classes in "
            f"this order, with {JOIN!r} between the values, or leave factors out."
        )
