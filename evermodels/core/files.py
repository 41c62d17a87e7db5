"""Files that are complete or untouched: one, or several that belong together."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from evermodels.core.errors import ConfigError, EvermodelsError


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


class PartlyReplacedError(EvermodelsError):
    """Of several files that belong together some have the new content and some the old."""


@contextlib.contextmanager
def whole_files(folder: Path) -> Iterator[Callable[[str], Path]]:
    """Write files under temporary names, and give them their own names when all of them are complete and on the disk.

    Temporary files stand in the same folder, so that each rename is atomic; on an error they are removed and what
    stood there before is untouched. A kill between two renames leaves whole files, some new and some old.

    Args:
        folder: Where the files go; it exists.

    Yields:
        A function that takes a final name and returns the path to write to. The order of its calls is that of the
        renames.

    Raises:
        OSError: If a file cannot be written; nothing was replaced.
        PartlyReplacedError: If a file cannot be replaced after another one was.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     with whole_files(Path(place)) as temporary:
        ...         _ = temporary("a.txt").write_text("a")
        ...     sorted(path.name for path in Path(place).iterdir())
        ['a.txt']
    """
    files: dict[str, Path] = {}

    def temporary(name: str) -> Path:
        files[name] = folder / f".{name}.{uuid.uuid4().hex[:16]}.tmp"
        return files[name]

    try:
        yield temporary
        for path in files.values():
            with path.open("rb+") as stream:
                os.fsync(stream.fileno())
        _replace(files, folder)
    finally:
        for path in files.values():
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _replace(files: dict[str, Path], folder: Path) -> None:
    for done, (name, path) in enumerate(files.items()):
        try:
            path.replace(folder / name)
        except OSError as error:
            if not done:
                raise
            raise PartlyReplacedError(
                f"{folder / name}: could not be replaced ({error}), while {', '.join([*files][:done])} already was. "
                "The folder holds files of two saves and will not load: free the file (another program may hold it) "
                "and save again."
            ) from error


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
        with whole_files(target.parent) as temporary:
            temporary(target.name).write_bytes(text.encode("utf-8"))
    except OSError as error:
        raise ConfigError(
            f"path: {str(target)!r} cannot be written ({error.strerror or error}). Give a file in a folder that exists."
        ) from error
    return target
