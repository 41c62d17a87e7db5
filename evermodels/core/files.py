"""Text files that are complete or untouched."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from evermodels.core.errors import ConfigError


def check_target(path: str | os.PathLike[str], name: str) -> Path:
    """Return the path of a file that is to be written, after a look at its folder.

    Args:
        path: Where the file goes.
        name: The argument's name, for the message.

    Raises:
        ConfigError: If its folder does not exist, or it is a folder itself.
    """
    target = Path(path)
    if not target.absolute().parent.is_dir():
        raise ConfigError(f"{name}: the folder of {str(target)!r} does not exist. Make it first.")
    if target.is_dir():
        raise ConfigError(f"{name}: {str(target)!r} is a folder. Give the name of a file in it.")
    return target


def write_whole(path: str | os.PathLike[str], text: str) -> Path:
    """Write a text file so that it is complete or untouched.

    Args:
        path: Where it goes.
        text: Its content.

    Returns:
        The path.

    Raises:
        ConfigError: If it cannot be written.
    """
    target = check_target(path, "path")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
                stream.write(text)
            # mkstemp makes files that only their owner may read; a page is to be shown around.
            umask = os.umask(0)
            os.umask(umask)
            Path(name).chmod(0o666 & ~umask)
            Path(name).replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise ConfigError(
            f"path: {str(target)!r} cannot be written ({error.strerror or error}). Give a file in a folder that exists."
        ) from error
    return target
