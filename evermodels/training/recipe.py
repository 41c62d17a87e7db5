"""Recipes: one TOML file says what is trained on what, how, and which rows its tables have."""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evermodels.core.config import Config
from evermodels.core.errors import ConfigError, UnknownNameError, boundary, did_you_mean
from evermodels.datasets.parts import DataSettings
from evermodels.training.distillation import DistilSettings
from evermodels.training.settings import (
    ComparisonSettings,
    LossSettings,
    ModelSettings,
    OptimSettings,
    SelectionSettings,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


SECTIONS = ("data", "model", "optim", "loss", "distil", "selection")
"""The parts of a recipe that decide a result."""
_LONGEST_NAME, _LARGEST_FILE = 100, 1_000_000
_TOML = "Write it in UTF-8, with sections and keys as in the recipes that come with the package."


def check_name(config: Config) -> None:
    """Refuse names that cannot name a folder, or would name another one.

    Args:
        config: A configuration with a ``name``.

    Raises:
        ConfigError: If it is none.
    """
    name: str = getattr(config, "name", "")
    if not 0 < len(name) <= _LONGEST_NAME or not all(c.isalnum() or c in "_-" for c in name):
        raise config.refuse("name", f"1 to {_LONGEST_NAME} letters, digits, - and _")


@dataclass(frozen=True)
class Row(Config):
    """One row of a table: the recipe with a few values changed.

    Args:
        name: Its name, also of its run folders.
        table: The paper's table that it belongs to; 0 (default) for none.
        title: How the table calls it (default: the name).
        overrides: Changed values, nested as in the recipe.
        init_from: Earlier rows whose encoder weights it starts from, by modality; the encoder is taken whole. Or
            ``model`` alone: one earlier row all of whose weights it starts from, for training in stages.

    Raises:
        ConfigError: For an unknown key, a wrong type or an impossible value.

    Example:
        >>> Row("eeg", table=3, overrides={"optm": {"epochs": 3}})
        Traceback (most recent call last):
            ...
        evermodels.core.errors.ConfigError: Row 'eeg': overrides has no section 'optm'. Did you mean 'optim'? ...
    """

    name: str
    table: int = 0
    title: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    init_from: Mapping[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """Refuse names that cannot name a folder, and encoders that do not exist."""
        check_name(self)
        if self.table < 0:
            raise self.refuse("table", "a table's number, or 0 for none")
        if "model" in self.init_from and len(self.init_from) > 1:
            raise ConfigError(f"Row {self.name!r}: init_from: 'model' brings all encoders. Leave the others out.")
        for key in self.overrides:
            if key not in SECTIONS:
                raise ConfigError(
                    f"Row {self.name!r}: overrides has no section {key!r}.{did_you_mean(key, SECTIONS)} "
                    f"Allowed: {', '.join(SECTIONS)}."
                )


@dataclass(frozen=True)
class Recipe(Config):
    """A whole training: data, model, optimiser, loss, selection of the epoch, and the rows of its tables.

    Args:
        name: The recipe's name, also of its folder of runs: letters, digits, ``-`` and ``_``.
        description: What it trains and what its numbers mean.
        full: The row that is the full model, against which the others are compared; ``None`` without rows.
        data: What is trained on.
        model: Which model is trained.
        optim: How.
        loss: With which loss.
        distil: Whether several trainings are made first, whose mean answer is learned.
        selection: How the epoch is chosen.
        comparison: What the differences between rows are held against; no part of a run.
        rows: The rows of its tables.
        changes: The ``key=value`` overrides that it was loaded with; the command that repeats a run names them.
        source: The name or file that it was loaded from, as it was given; the command names it too.
        words: What the command names instead, for a recipe that was made of a manifest.

    Raises:
        ConfigError: For an unknown key, a wrong type or an impossible value, also in a row's overrides.

    Example:
        >>> short = Row("short", table=3, overrides={"optim": {"epochs": 3}})
        >>> Recipe("mine", rows=(short,)).for_row("short").optim.epochs
        3
    """

    name: str
    description: str = ""
    full: str | None = None
    data: DataSettings = field(default_factory=DataSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    optim: OptimSettings = field(default_factory=OptimSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    distil: DistilSettings = field(default_factory=DistilSettings)
    selection: SelectionSettings = field(default_factory=SelectionSettings)
    comparison: ComparisonSettings = field(default_factory=ComparisonSettings)
    rows: tuple[Row, ...] = ()
    changes: tuple[str, ...] = ()
    source: str | None = None
    words: tuple[str, ...] = ()

    def check(self) -> None:
        """Refuse bad names, doubled rows, rows that start from later ones, and rows whose overrides do not fit."""
        check_name(self)
        seen: list[str] = []
        for row in self.rows:
            if row.name in seen:
                raise ConfigError(f"Recipe.rows: the name {row.name!r} occurs twice. Give each row its own.")
            for source in row.init_from.values():
                if source not in seen:
                    raise ConfigError(
                        f"Recipe.rows: {row.name!r} starts from {source!r}, which is not an earlier row. "
                        f"Earlier rows: {', '.join(seen) or 'none'}."
                    )
            seen.append(row.name)
            self._apply(row)
        if unknown := [name for name in self.comparison.late_fusion if name not in seen and self.rows]:
            raise ConfigError(
                f"Recipe.comparison.late_fusion: expected some of the rows ({', '.join(seen)}), got {unknown[0]!r}."
            )
        if self.full is not None and self.full not in seen:
            raise self.refuse("full", f"one of the rows ({', '.join(seen) or 'none'})")

    def row(self, name: str | None) -> Row | None:
        """Return a row by name; ``None`` gives the full model's row, or ``None`` in a recipe without one.

        Args:
            name: The row's name, or ``None``.

        Raises:
            UnknownNameError: If there is no such row.
        """
        name = self.full if name is None else name
        if name is None:
            return None
        names = [row.name for row in self.rows]
        if name not in names:
            raise UnknownNameError(
                f"row: recipe {self.name!r} has no {name!r}.{did_you_mean(name, names)} "
                f"It has: {', '.join(names) or 'none'}."
            )
        return self.rows[names.index(name)]

    def for_row(self, name: str | None) -> Recipe:
        """Return the recipe of one row: its overrides applied, without the list of rows.

        Args:
            name: The row's name; ``None`` for the full model.

        Raises:
            UnknownNameError: If there is no such row.
        """
        row = self.row(name)
        return self.replace(full=None, rows=()) if row is None else self._apply(row)

    def _apply(self, row: Row) -> Recipe:
        plain = {k: v for k, v in self.to_dict().items() if k not in ("rows", "full")}
        return Recipe.from_dict(merged(plain, row.overrides), where=f"Recipe row {row.name!r}")

    def teacher(self) -> Recipe:
        """Return the recipe of one of the trainings that a model learns from: the same without teachers."""
        changes = tuple(dict.fromkeys((*self.changes, "distil.teachers=0")))
        return Recipe.from_dict(with_changes(self.to_dict(), changes), where="Recipe of a teacher")

    def digest(self) -> str:
        """Return the sha256 of all that decides a result: data, model, optimiser, loss, teachers, selection."""
        plain = {key: value for key, value in self.to_dict().items() if key in SECTIONS}
        plain["data"].pop("num_workers")
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested values with some changed.

    Args:
        base: The values.
        changes: Those that win; a mapping changes only the keys that it has.

    Example:
        >>> merged({"optim": {"epochs": 3, "eps": 1e-8}}, {"optim": {"epochs": 5}})
        {'optim': {'epochs': 5, 'eps': 1e-08}}
    """
    values = dict(base)
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(values.get(key), Mapping)
        values[key] = merged(values[key], value) if both else value
    return values


def _remove(nested: dict[str, Any], keys: tuple[str, ...]) -> None:
    """Remove a key by its path, where it is there."""
    for key in keys[:-1]:
        nested = nested.get(key, {})
        if not isinstance(nested, dict):
            return
    nested.pop(keys[-1], None)


def list_recipes(*, folder: str = "recipes") -> list[str]:
    """Return the names of the recipes that come with the package.

    Args:
        folder: ``"recipes"``, ``"pretraining_recipes"`` for those of ``evermodels pretrain``, or ``"suites"``.

    Example:
        >>> "ever_tiny_quadrant" in list_recipes()
        True
    """
    place = importlib.resources.files("evermodels.training") / folder
    return sorted(p.name[: -len(".toml")] for p in place.iterdir() if p.name.endswith(".toml"))


def parse_override(text: str) -> tuple[tuple[str, ...], Any]:
    """Split ``"optim.epochs=3"`` into its path and its value.

    Args:
        text: ``key=value``; the value is read as TOML, else as a bare string; ``none`` means ``None``.

    Returns:
        The key's path and the value.

    Raises:
        ConfigError: If there is no ``=`` or no key.

    Example:
        >>> parse_override("optim.lr.rest=1e-3")
        (('optim', 'lr', 'rest'), 0.001)
        >>> parse_override("model.architecture=ever_small")
        (('model', 'architecture'), 'ever_small')
    """
    key, equals, value = text.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not equals or not all(path):
        raise ConfigError(f"override: expected key=value such as optim.epochs=3, got {text!r}.")
    if value.strip().lower() == "none":
        return path, None
    with boundary(ConfigError, f"override {key.strip()!r}: the value cannot be read", "Give a plain TOML value."):
        try:
            return path, tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            return path, value.strip()


def load_recipe(name_or_path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Load a recipe, with some values changed.

    Args:
        name_or_path: Name of a recipe that comes with the package, or a path to a ``.toml`` file.
        overrides: Changes such as ``"optim.epochs=3"``; they win over the recipe and over its rows' own overrides.

    Returns:
        The checked, frozen recipe.

    Raises:
        UnknownNameError: If there is no such recipe.
        ConfigError: If the file is not TOML, or a key, type or value does not fit.

    Example:
        >>> load_recipe("ever_tiny_quadrant", ["optim.epochs=3"]).optim.epochs
        3
    """
    text = str(name_or_path)
    values = recipe_values(name_or_path, overrides)
    with boundary(ConfigError, f"recipe {text!r}: it or its overrides cannot be used", _TOML):
        return Recipe.from_dict(values, where=f"recipe {text!r}")


def recipe_values(
    name_or_path: str | Path, overrides: Iterable[str] = (), *, folder: str = "recipes"
) -> dict[str, Any]:
    """Return the values of a recipe's file, with some changed, unchecked.

    Args:
        name_or_path: Name of a recipe that comes with the package, or a path to a ``.toml`` file.
        overrides: Changes such as ``"optim.epochs=3"``.
        folder: Where recipes that come with the package lie.

    Raises:
        UnknownNameError: If there is no such recipe.
        ConfigError: If the file is not TOML, or a change is none.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith(".toml"):
        path = Path(name_or_path)
        if not path.is_file():
            raise UnknownNameError(
                f"recipe: there is no file {text!r}. Recipes by name: {', '.join(list_recipes(folder=folder))}."
            )
        with boundary(ConfigError, f"recipe {text!r}: the file cannot be read", _TOML):
            if path.stat().st_size > _LARGEST_FILE:
                raise ConfigError(f"recipe {text!r}: larger than {_LARGEST_FILE:,} bytes. Give a recipe.")
            source = path.read_text(encoding="utf-8")
    else:
        known = list_recipes(folder=folder)
        if text not in known:
            raise UnknownNameError(
                f"recipe: {text!r} does not exist.{did_you_mean(text, known)} By name: {', '.join(known)}; "
                "or give the path of a .toml file."
            )
        source = (importlib.resources.files("evermodels.training") / folder / f"{text}.toml").read_text("utf-8")
    with boundary(ConfigError, f"recipe {text!r}: not a TOML file", _TOML):
        plain: dict[str, Any] = tomllib.loads(source)
    with boundary(ConfigError, f"recipe {text!r}: it or its overrides cannot be used", _TOML):
        return {**with_changes(plain, tuple(overrides)), "source": text}


def with_changes(plain: dict[str, Any], overrides: tuple[str, ...]) -> dict[str, Any]:
    """Return a recipe's values with some changed; they win over its rows' own overrides.

    Args:
        plain: Values as in a recipe's file.
        overrides: Changes such as ``"optim.epochs=3"``.

    Raises:
        ConfigError: If a change is none.
    """
    for override in overrides:
        keys, change = parse_override(override)
        for key in reversed(keys):
            change = {key: change}
        plain = merged(plain, change)
        rows = plain.get("rows")
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, dict) and isinstance(row.get("overrides"), dict):
                _remove(row["overrides"], keys)
    return {**plain, "changes": list(overrides)}
