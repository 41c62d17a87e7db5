"""Medians of functions that take turns, so that a busy machine slows all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch


def fair_clock() -> Callable[[], float]:
    """Return what tells CPU seconds where torch runs one thread, and what tells seconds elsewhere."""
    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def alternating_medians(
    functions: Mapping[str, Callable[[], Any]],
    repeats: int = 7,
    warmup: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Return the median seconds of each function over rounds in which each runs once.

    Args:
        functions: What to time, by name.
        repeats: Rounds that count.
        warmup: Rounds before that do not.
        clock: What tells the time; ``time.process_time`` with one thread is blind to what else the machine does.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(warmup + repeats):
        for name, function in functions.items():
            start = clock()
            function()
            if turn >= warmup:
                seconds[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}
