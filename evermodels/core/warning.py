"""Warnings that point at the caller's line, and the one that tells of a licence."""

from __future__ import annotations

import inspect
import re
import warnings

_NON_COMMERCIAL = re.compile(r"(?<![a-z])(nc|non-?commercial)(?![a-z])", re.IGNORECASE)


class LicenceWarning(UserWarning):
    """What was loaded may not be used for everything."""


def warn(text: str, kind: type[Warning] = UserWarning) -> None:
    """Warn at the line outside the package that led here.

    Args:
        text: Whole sentences.
        kind: Class of the warning.
    """
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get("__name__", "").startswith("evermodels."):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, kind, stacklevel=level)


def is_non_commercial(licence: str) -> bool:
    """Return whether a licence allows no commercial use, by its name.

    Args:
        licence: Such as ``"cc-by-nc-sa-4.0"``.

    Example:
        >>> is_non_commercial("CC BY-NC-SA 4.0"), is_non_commercial("apache-2.0"), is_non_commercial("Non-commercial")
        (True, False, True)
    """
    return _NON_COMMERCIAL.search(licence) is not None


def tell_licence(what: str, licence: str) -> None:
    """Warn where a licence allows no commercial use, and say nothing of the others.

    Args:
        what: What was loaded, for people.
        licence: Its licence.

    Example:
        >>> with warnings.catch_warnings(record=True) as told:
        ...     warnings.simplefilter("always")
        ...     tell_licence("the set", "CC BY-NC 4.0")
        >>> print(told[0].message)
        the set is for non-commercial use (CC BY-NC 4.0), and so is what is trained on it; say so where you show it.
    """
    if is_non_commercial(licence):
        warn(
            f"{what} is for non-commercial use ({licence}), and so is what is trained on it; say so where you show it.",
            LicenceWarning,
        )
