"""For maintainers: copy a trained checkpoint into the package and write its digests into the weight table.

Run as ``python -m evermodels.checkpoints.bundle FOLDER NAME``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evermodels.checkpoints.config_file import CARD_NAME, CONFIG_NAME, WEIGHTS_NAME
from evermodels.checkpoints.load import from_pretrained
from evermodels.checkpoints.scores import Score, read_scores
from evermodels.checkpoints.strict_json import dump_json, parse_json
from evermodels.checkpoints.table import (
    BUNDLED,
    BUNDLED_LIMIT,
    TABLE_PATH,
    TABLE_VERSION,
    TableEntry,
    bundled_folder,
    load_table,
    split_name,
)
from evermodels.checkpoints.verify import FileDigest
from evermodels.checkpoints.write import checkpoint_files
from evermodels.core import registry
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
    training: Mapping[str, Any] | None = None,
    replace: bool = False,
    table_path: Path = TABLE_PATH,
    bundled: Path = BUNDLED,
) -> TableEntry:
    """Copy a checkpoint folder into the package and enter it into the weight table.

    The checkpoint is loaded and saved again under its name: the weights stay the same bytes, ``config.json`` and the
    card say what is given here. What is left out comes from ``training`` in the checkpoint's own ``config.json``.

    Args:
        folder: What ``model.save_pretrained`` wrote.
        name: Its name ``arch.tag``.
        licence: Licence of the weights.
        data: What it was trained on; default the ``datasets`` of ``training``.
        protocol: How it was tested.
        score: What it reached there; default the first of the ``scores`` of ``training``.
        recipe: The recipe that trains it.
        summary: One line for people.
        training: More provenance: ``scores``, ``datasets``, ``attribution``, ``not_this``, … as
            :class:`~evermodels.checkpoints.card.CardInfo` names them, or keys of your own.
        replace: Whether an entry of the same name may be replaced.
        table_path: The table to write.
        bundled: The folder of the bundled files; what may not be used commercially goes beside it, into
            ``bundled_noncommercial``, which the packages leave out.

    Returns:
        The new entry.

    Raises:
        CheckpointError: If the folder does not load, or all bundled files would be too large.
        ConfigError: If the name or a value does not fit.
    """
    architecture, _ = split_name(name)
    table = load_table(table_path)
    if name in table and not replace:
        raise ConfigError(f"name: {name!r} exists. Choose another tag, or replace it with replace=True (--replace).")
    model = from_pretrained(folder)
    if model.architecture != architecture:
        own = model.architecture or type(model).__name__
        raise ConfigError(f"name: {name!r} does not fit {own!r}. Call it {own}.TAG.")
    given = {"licence": licence, "data": data, "protocol": protocol, "recipe": recipe, "summary": summary}
    known = {**(model.provenance or {}), **(training or {}), **{k: v for k, v in given.items() if v is not None}}
    if isinstance(score, Score):
        score = score.said()
    row = {
        **{key: known.get(key) for key in given},
        "data": known.get("data") or ", ".join(known.get("datasets", ())),
        "summary": known.get("summary") or "",
        "score": score or next((one.said() for one in read_scores(known.get("scores"))), None),
    }
    if lacking := [key for key, value in row.items() if not value and key != "summary"]:
        raise ConfigError(f"{', '.join(lacking)}: not given, and not in the checkpoint's training. Give them.")
    taken = None if model.input_spec is None else model.input_spec.modalities
    if taken and set(taken) < set(registry.entry(architecture).modalities):
        row["modalities"] = list(taken)
    if score and "scores" not in known:
        known["scores"] = {score.get("metric", "score"): {k: v for k, v in score.items() if k != "metric"}}
    with tempfile.TemporaryDirectory() as place:
        saved = model.save_pretrained(Path(place) / name, training=known)
        contents = {file: (saved / file).read_bytes() for file in (WEIGHTS_NAME, CARD_NAME, CONFIG_NAME)}
    digests = {file: FileDigest.of_bytes(content) for file, content in contents.items()}
    files = {file: digest.to_dict() for file, digest in sorted(digests.items())}
    entry = TableEntry.from_dict({"bundled": True, "files": files, **row}, where=name)
    others = (f.size for other, e in table.items() if e.bundled and other != name for f in e.files.values())
    if (total := sum(others) + sum(f.size for f in digests.values())) > BUNDLED_LIMIT:
        raise CheckpointError(f"{name}: all bundled files would be {total:,} bytes, the limit is {BUNDLED_LIMIT:,}.")
    _write(bundled_folder(name, entry, bundled), contents)
    entries = {key: e.to_dict() for key, e in sorted({**table, name: entry}.items())}
    text = dump_json({"format_version": TABLE_VERSION, "entries": entries}, str(table_path))
    _write(table_path.parent, {table_path.name: text})
    return entry


def _write(folder: Path, contents: Mapping[str, bytes]) -> None:
    with checkpoint_files(folder) as temporary:
        for name, content in contents.items():
            temporary(name).write_bytes(content)


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
    parser.add_argument("--training", help="JSON file with scores, datasets, attribution, not_this, … for the card")
    parser.add_argument("--score", type=json.loads, help='JSON such as {"metric": "UAR", "value": 0.7}')
    parser.add_argument("--replace", action="store_true", help="replace an entry of the same name")
    options = vars(parser.parse_args(arguments))
    name, training = options["name"], options["training"]
    if training is not None:
        options["training"] = parse_json(Path(training).read_bytes(), training)
    entry = add_to_table(options.pop("folder"), options.pop("name"), **options)
    size = sum(f.size for f in entry.files.values())
    print(f"{name}: {entry.score}, {size:,} bytes, in the table")


if __name__ == "__main__":
    main()
