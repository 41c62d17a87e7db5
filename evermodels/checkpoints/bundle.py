"""For maintainers: copy a trained checkpoint into the package and write its digests into the weight table.

Run as ``python -m evermodels.checkpoints.bundle FOLDER NAME``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evermodels.checkpoints.card import NOT_THIS
from evermodels.checkpoints.config_file import (
    CARD_NAME,
    CONFIG_NAME,
    FORMAT_VERSION,
    WEIGHTS_NAME,
    dump_json,
    parse_config,
)
from evermodels.checkpoints.load import from_pretrained
from evermodels.checkpoints.read import read_bytes
from evermodels.checkpoints.table import BUNDLED, BUNDLED_LIMIT, TABLE_PATH, Score, TableEntry, load_table, split_name
from evermodels.checkpoints.verify import FileDigest
from evermodels.checkpoints.write import stage, staged
from evermodels.core.errors import CheckpointError, ConfigError


def add_to_table(
    folder: str | Path,
    name: str,
    *,
    licence: str | None = None,
    data: str | None = None,
    protocol: str | None = None,
    score: Score | Mapping[str, Any] | None = None,
    recipe: str | None = None,
    summary: str | None = None,
    replace: bool = False,
    table_path: Path = TABLE_PATH,
    bundled: Path = BUNDLED,
) -> TableEntry:
    """Copy a checkpoint folder into the package and enter it into the weight table.

    Values that are left out come from ``training`` in the checkpoint's ``config.json``: ``licence``, ``data`` (or
    ``datasets``), ``protocol``, ``recipe``, ``summary`` and the first of ``scores``.

    Args:
        folder: What ``model.save_pretrained`` wrote.
        name: Its name ``arch.tag``.
        licence: Licence of the weights.
        data: What it was trained on.
        protocol: How it was tested.
        score: What it reached there.
        recipe: The recipe that trains it.
        summary: One line for people.
        replace: Whether an entry of the same name may be replaced.
        table_path: The table to write.
        bundled: The folder of the bundled files.

    Returns:
        The new entry.

    Raises:
        CheckpointError: If the folder does not load, has no card, or all bundled files would be too large.
        ConfigError: If the name or a value does not fit.
    """
    folder, (architecture, _) = Path(folder), split_name(name)
    from_pretrained(folder)
    contents = {file: read_bytes(folder / file) for file in (WEIGHTS_NAME, CARD_NAME, CONFIG_NAME)}
    config = parse_config(contents[CONFIG_NAME], str(folder / CONFIG_NAME))
    if config.architecture != architecture:
        raise ConfigError(f"name: {name!r} does not fit {config.architecture!r}. Call it {config.architecture}.TAG.")
    if f"## {NOT_THIS}" not in contents[CARD_NAME].decode("utf-8"):
        raise CheckpointError(f"{folder / CARD_NAME}: has no section {NOT_THIS!r}. Save the model again.")
    table = load_table(table_path)
    if name in table and not replace:
        raise ConfigError(f"name: {name!r} exists. Choose another tag, or replace it with replace=True (--replace).")
    training = config.training or {}
    digests = {file: FileDigest.of_bytes(content) for file, content in contents.items()}
    values = {
        "licence": licence or training.get("licence"),
        "data": data or training.get("data") or ", ".join(training.get("datasets", ())),
        "protocol": protocol or training.get("protocol"),
        "recipe": recipe or training.get("recipe"),
        "score": score.to_dict() if isinstance(score, Score) else score or _first_score(training.get("scores")),
    }
    if lacking := [key for key, value in values.items() if not value]:
        raise ConfigError(f"{', '.join(lacking)}: not given, and not in the checkpoint's training. Give them.")
    row = {
        "bundled": True,
        "files": {file: digest.to_dict() for file, digest in sorted(digests.items())},
        **values,
        "summary": summary or training.get("summary") or "",
    }
    entry = TableEntry.from_dict(row, where=name)
    others = (f.size for other, e in table.items() if e.bundled and other != name for f in e.files.values())
    if (total := sum(others) + sum(f.size for f in digests.values())) > BUNDLED_LIMIT:
        raise CheckpointError(f"{name}: all bundled files would be {total:,} bytes, the limit is {BUNDLED_LIMIT:,}.")
    target = bundled / name
    with staged(target) as files:
        for file, content in contents.items():
            stage(files, target, file).write_bytes(content)
    entries = {key: e.to_dict() for key, e in sorted({**table, name: entry}.items())}
    with staged(table_path.parent) as files:
        text = dump_json({"format_version": FORMAT_VERSION, "entries": entries}, str(table_path))
        stage(files, table_path.parent, table_path.name).write_bytes(text)
    return entry


def _first_score(scores: Any) -> dict[str, Any] | None:
    if not isinstance(scores, Mapping) or not scores:
        return None
    metric, value = next(iter(scores.items()))
    if not isinstance(value, Mapping):
        return {"metric": metric, "value": value}
    return {"metric": metric, **{key: value[key] for key in ("value", "low", "high") if key in value}}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        arguments: Words after the program's name; default those of the process.
    """
    parser = argparse.ArgumentParser(prog="python -m evermodels.checkpoints.bundle", description=__doc__)
    parser.add_argument("folder", help="what model.save_pretrained wrote")
    parser.add_argument("name", help="arch.tag, such as ever_tiny.quadrant")
    for key in ("licence", "data", "protocol", "recipe", "summary"):
        parser.add_argument(f"--{key}", help="default: what the checkpoint's config.json says")
    parser.add_argument("--score", type=json.loads, help='JSON such as {"metric": "UAR", "value": 0.7}')
    parser.add_argument("--replace", action="store_true", help="replace an entry of the same name")
    options = vars(parser.parse_args(arguments))
    name = options["name"]
    entry = add_to_table(options.pop("folder"), options.pop("name"), **options)
    size = sum(f.size for f in entry.files.values())
    print(f"{name}: {entry.score}, {size:,} bytes, in the table")


if __name__ == "__main__":
    main()
