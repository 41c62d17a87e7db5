"""How much memory the machine has, for bounds that are checked before memory is asked for."""

from __future__ import annotations

import os


def physical_memory() -> float:
    """Return the machine's memory in bytes, or infinity where the system does not tell.

    Example:
        >>> physical_memory() > 1e6
        True
    """
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return float("inf")
