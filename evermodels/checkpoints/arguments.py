"""What ``from_pretrained`` is given, looked at before anything is read, fetched or allocated."""

from __future__ import annotations

import os
from typing import Any

import torch

from evermodels import montage
from evermodels.checkpoints.config_file import DTYPES
from evermodels.core.config import check_num_classes
from evermodels.core.errors import ConfigError, UnknownNameError, boundary, quoted


def check_arguments(
    name: Any, *, revision: Any, num_classes: Any, ch_names: Any, cache_dir: Any, token: Any, local_files_only: Any
) -> None:
    """Refuse arguments of a type that cannot be right.

    Args:
        name: What is loaded.
        revision: A text, or ``None``.
        num_classes: A number of classes, or ``None``.
        ch_names: A list of texts, the name of a montage, or ``None``.
        cache_dir: A path, or ``None``.
        token: A text, a bool, or ``None``.
        local_files_only: A bool.

    Raises:
        ConfigError: If one is of another type, or ``ch_names`` is a text and no montage's name.
    """
    if num_classes is not None:
        check_num_classes(num_classes)
    path = (str, os.PathLike)
    for label, value, types, expected in (
        ("name_or_dir_or_repo", name, path, "a name, a folder or a repository 'organisation/name'"),
        ("revision", revision, (str, type(None)), "a branch, a tag or a commit, or None"),
        ("cache_dir", cache_dir, (*path, type(None)), "a folder, or None for the client's own"),
        ("token", token, (str, bool, type(None)), "a token, False for none, or None for the stored one"),
        ("local_files_only", local_files_only, (bool,), "True or False"),
    ):
        if not isinstance(value, types) or (label == "cache_dir" and value == ""):
            raise ConfigError(f"{label}: expected {expected}, got {quoted(value)}.")
    if isinstance(ch_names, str):
        try:
            montage.preset(ch_names)
        except UnknownNameError as error:
            raise ConfigError(f"ch_names: {error}") from None


def find_dtype(dtype: Any) -> torch.dtype | None:
    """Return a type that weights can have.

    Args:
        dtype: What was given.

    Raises:
        ConfigError: If weights cannot have it.
    """
    if dtype is None or (isinstance(dtype, torch.dtype) and dtype in DTYPES.values()):
        return dtype
    allowed = ", ".join(f"torch.{name}" for name in DTYPES)
    meant = f" Give torch.{dtype}." if isinstance(dtype, str) and dtype in DTYPES else ""
    raise ConfigError(f"dtype: expected a floating-point type ({allowed}), got {quoted(dtype)}.{meant}")


def find_device(device: Any) -> torch.device | None:
    """Return a device that this machine has.

    Args:
        device: What was given.

    Raises:
        ConfigError: If it is none, or holds no values.
    """
    if device is None:
        return None
    way_out = f"Leave it out for the CPU, or give one that is there: {', '.join(_devices())}."
    if isinstance(device, bool) or not isinstance(device, (str, int, torch.device)):
        raise ConfigError(f"device: expected a device such as 'cpu' or 'cuda:0', got {quoted(device)}. {way_out}")
    with boundary(ConfigError, f"device: {quoted(device)} cannot be used here", way_out):
        found = torch.device(device)
        torch.zeros(1, device=found)
    if found.type == "meta":
        raise ConfigError(f"device: 'meta' holds no values, so that weights would be lost. {way_out}")
    return found


def _devices() -> list[str]:
    names = ["cpu"]
    if torch.accelerator.is_available() and (kind := torch.accelerator.current_accelerator()) is not None:
        names += [f"{kind.type}:{index}" for index in range(torch.accelerator.device_count())]
    return names
