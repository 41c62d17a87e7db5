"""Where data sets lie on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from evermodels.core.errors import DataError


def existing_folder(root: str | os.PathLike[str], what: str) -> Path:
    """Return the folder as a path.

    Args:
        root: The folder.
        what: Name of the data set, for the message.

    Raises:
        DataError: If it is not a folder.
    """
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise DataError(
            f"{what}: {str(root)!r} is not a folder. Give the folder that holds the publisher's files, or let "
            f"evermodels.datasets.data_folder find it under the environment variable EVERMODELS_DATA."
        )
    return folder
