"""The weight table: which checkpoints exist, with the digest of each file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from evermodels.checkpoints.config_file import CARD_NAME, CONFIG_NAME, WEIGHTS_NAME
from evermodels.checkpoints.hub import is_repo_id
from evermodels.checkpoints.read import read_bytes
from evermodels.checkpoints.scores import Score
from evermodels.checkpoints.strict_json import parse_json
from evermodels.checkpoints.verify import FileDigest
from evermodels.core import registry
from evermodels.core.config import Config
from evermodels.core.errors import (
    CheckpointError,
    ConfigError,
    EvermodelsError,
    UnknownNameError,
    did_you_mean,
    shorten,
)
from evermodels.core.specs import MODALITIES
from evermodels.core.warning import is_non_commercial

TABLE_PATH = Path(__file__).with_name("table.json")
TABLE_VERSION = 1
"""Layout of the weight table."""

BUNDLED = Path(__file__).with_name("bundled")
NON_COMMERCIAL = Path(__file__).with_name("bundled_noncommercial")
"""What was trained on recordings that may not be used commercially: in the repository, and left out of the packages."""

BUNDLED_LIMIT = 40_000_000


@dataclass(frozen=True)
class TableEntry(Config):
    """One checkpoint of the table.

    Args:
        bundled: Whether the files come with the package.
        files: Size and sha256 of each file, by name.
        licence: Licence of the weights, as an SPDX name.
        data: What it was trained on.
        protocol: How it was tested.
        score: What it reached there.
        recipe: The recipe that trains it.
        summary: One line for people.
        repo_id: Repository on the Hub, or ``None``.
        revision: Its 40-digit commit, or ``None``.
        modalities: What it takes, where that is less than its architecture can; ``None``: all of it.
    """

    bundled: bool
    files: dict[str, FileDigest]
    licence: str
    data: str
    protocol: str
    score: Score
    recipe: str
    summary: str = ""
    repo_id: str | None = None
    revision: str | None = None
    modalities: tuple[str, ...] | None = None

    def __repr__(self) -> str:
        size = sum(file.size for file in self.files.values()) / 1e6
        where = "bundled" if self.bundled else f"{self.repo_id} on the Hub"
        return f"<{type(self).__name__}: {size:.1f} MB, {where}, {self.score}>"

    def check(self) -> None:
        """Refuse an entry without a file, a text or a place to find it."""
        if set(self.files) != {CONFIG_NAME, WEIGHTS_NAME, CARD_NAME}:
            raise self.refuse("files", f"exactly {CONFIG_NAME}, {WEIGHTS_NAME} and {CARD_NAME}")
        for key in ("licence", "data", "protocol", "recipe"):
            if not getattr(self, key).strip():
                raise self.refuse(key, "a text")
        if (self.repo_id is None) != (self.revision is None):
            raise self.refuse("revision", "a commit together with repo_id, or neither")
        if self.repo_id is not None and not is_repo_id(self.repo_id):
            raise self.refuse("repo_id", "'organisation/name'")
        if self.revision is not None and not re.fullmatch(r"[0-9a-f]{40}", self.revision):
            raise self.refuse("revision", "a commit of 40 hexadecimal digits")
        if not self.bundled and self.repo_id is None:
            raise self.refuse("bundled", "true, or a repo_id")
        if self.modalities is not None and (not self.modalities or set(self.modalities) - set(MODALITIES)):
            raise self.refuse("modalities", f"some of {', '.join(MODALITIES)}, or null")

    def takes(self, modality: str, name: str) -> bool:
        """Return whether the checkpoint takes a modality.

        Args:
            modality: Such as ``"eeg"``.
            name: Its name, ``arch.tag``.
        """
        return modality in (self.modalities or registry.entry(name.partition(".")[0]).modalities)


def bundled_folder(name: str, entry: TableEntry, bundled: Path | None = None) -> Path:
    """Return where the files of a bundled checkpoint lie: apart where their licence allows no commercial use.

    Args:
        name: Its name.
        entry: Its entry in the table.
        bundled: Another folder than that of those that come with the package.
    """
    bundled = BUNDLED if bundled is None else bundled
    return (bundled.with_name(NON_COMMERCIAL.name) if is_non_commercial(entry.licence) else bundled) / name


def load_table(path: Path | None = None) -> dict[str, TableEntry]:
    """Read and check the weight table.

    Args:
        path: Another table file; default the package's own.

    Returns:
        Entries by ``arch.tag``.

    Raises:
        CheckpointError: If the file cannot be read, or is far larger than a table is.
        ConfigError: If the file is not such a table.
    """
    path = path or TABLE_PATH
    try:
        data = read_bytes(path)
    except CheckpointError as error:
        raise CheckpointError(
            f"{path}: the weight table cannot be read ({error.__cause__ or error}). Install it again: "
            "pip install --force-reinstall evermodels"
        ) from error
    return parse_table(data, str(path))


def parse_table(data: bytes, where: str) -> dict[str, TableEntry]:
    """Parse the bytes of a weight table.

    Args:
        data: The bytes of the file.
        where: The file, for the message.

    Returns:
        Entries by ``arch.tag``.

    Raises:
        ConfigError: If it is not such a table.
    """
    mapping = parse_json(data, where)
    version = mapping.get("format_version")
    if set(mapping) != {"format_version", "entries"} or type(version) is not int or version != TABLE_VERSION:
        raise ConfigError(
            f"{where}: expected format_version {TABLE_VERSION} and entries, got {shorten(str(sorted(mapping)))}."
        )
    if not isinstance(mapping["entries"], Mapping):
        raise ConfigError(f"{where}: entries: expected a mapping by name.")
    table = {}
    for name, row in mapping["entries"].items():
        try:
            split_name(name)
            table[name] = TableEntry.from_dict(row, where="entry")
        except EvermodelsError as error:
            raise ConfigError(f"{where}: {shorten(name)}: {error}") from error
    return table


def split_name(name: str) -> tuple[str, str]:
    """Split ``arch.tag`` and check both halves.

    Args:
        name: Name of a checkpoint.

    Returns:
        The architecture and the tag.

    Raises:
        UnknownNameError: If the architecture does not exist.
        ConfigError: If the tag is not a plain word.

    Example:
        >>> split_name("ever_tiny.quadrant")
        ('ever_tiny', 'quadrant')
    """
    architecture, _, tag = name.partition(".")
    registry.entry(architecture)
    if not re.fullmatch(r"[a-z0-9][a-z0-9_]*", tag):
        raise ConfigError(
            f"checkpoint name: expected 'arch.tag', the tag of lower-case letters, digits, underscores, got {name!r}."
        )
    return architecture, tag


def pretrained_names(architecture: str | None = None, *, modality: str | None = None) -> list[str]:
    """Return the names of the checkpoints that exist, without those that this installation leaves out.

    Args:
        architecture: Only those of this architecture.
        modality: Only those that take this modality.

    Returns:
        Names ``arch.tag`` in the table's order.
    """
    return [
        name
        for name, entry in load_table().items()
        if (architecture is None or name.partition(".")[0] == architecture)
        and (modality is None or entry.takes(modality, name))
        and not left_out(name, entry)
    ]


def left_out(name: str, entry: TableEntry) -> bool:
    """Return whether a checkpoint is in the repository alone and not in this installation, for its licence.

    Args:
        name: Its name.
        entry: Its entry in the table.
    """
    return entry.bundled and is_non_commercial(entry.licence) and not bundled_folder(name, entry).is_dir()


def lookup(name: str) -> TableEntry:
    """Return the table's entry for a checkpoint's name.

    Args:
        name: ``arch.tag``.

    Raises:
        UnknownNameError: If there is none.
    """
    table = load_table()
    if name not in table:
        raise UnknownNameError(f"checkpoint: {name!r} does not exist.{did_you_mean(name, table)} {what_exists()}")
    return table[name]


def what_exists() -> str:
    """Return a sentence that lists the checkpoints of the table."""
    names = pretrained_names()
    return f"Pretrained weights exist for: {', '.join(names)}." if names else "No pretrained weights exist yet."


def no_weights(architecture: str) -> str:
    """Return a sentence on an architecture's name where a checkpoint's is expected, with those that it has.

    Args:
        architecture: A name of the model table.
    """
    names = pretrained_names(architecture)
    has = f"its checkpoints are: {', '.join(names)}" if names else f"it has no checkpoint. {what_exists()}".rstrip(".")
    return (
        f"{architecture}: an architecture, which has no weights of its own; {has}. With random weights it is built by "
        f"evermodels.create_model({architecture!r})."
    )
