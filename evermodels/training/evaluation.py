"""From a model and a part of a data set to predictions, and from a checkpoint to its metrics."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from evermodels.core.errors import ConfigError, DataError, require
from evermodels.datasets.parts import id_of
from evermodels.signals.eeg.read import MissingChannelsError
from evermodels.training.batches import collate, model_inputs
from evermodels.training.build import require_system
from evermodels.training.metrics import summarize
from evermodels.training.predictions import Predictions
from evermodels.training.recipe import Recipe


def _alone(model: nn.Module, name: str, inputs: Mapping[str, Any], classes: int) -> Tensor:
    """Logits of one modality alone; NaN for samples that lack it."""
    x: Tensor = inputs[name]
    here = inputs.get("present", {}).get(name, torch.ones(len(x), dtype=torch.bool, device=x.device))
    logits = torch.full((len(x), classes), torch.nan)
    if here.any():
        masks = {key: mask[here] for key, mask in inputs.get("masks", {}).items() if key == name}
        logits[here.cpu()] = model(**{name: x[here]}, **({"masks": masks} if masks else {})).logits.float().cpu()
    return logits


@torch.no_grad()
def predict(
    model: nn.Module,
    dataset: Dataset[dict[str, Any]],
    *,
    groups: Sequence[str] | None = None,
    levels: Mapping[str, np.ndarray] | None = None,
    batch_size: int = 64,
    num_workers: int = 0,
    alone: bool = False,
    progress: bool = False,
    title: str = "evaluate",
) -> Predictions:
    """Run a system over a part of a data set, in order, in eval mode.

    Args:
        model: A system on any device; its mode is restored.
        dataset: The part: anything with a length whose items are dicts with a tensor for each modality, ``label`` and
            ``person`` (an id), such as a list or :class:`~evermodels.datasets.QuadrantPairs`; where a recording is
            absent zeros and ``present={modality: False}``.
        groups: The keys that hold a person's id (default: what the data set declares, else ``("person",)``).
        levels: The level of each class in each score of the data set's own, as :attr:`Parts.levels
            <evermodels.datasets.Parts.levels>` has them (default: no scores).
        batch_size: Samples at once; it does not change the result.
        num_workers: Loading processes.
        alone: Whether a system of several modalities is also given each of them alone (``Predictions.alone``).
        progress: Whether to show a bar.
        title: The bar's title.

    Returns:
        The predictions.

    Example:
        >>> import evermodels as em
        >>> model = em.create_model("ever_tiny", modalities=("eeg",))
        >>> item = {"eeg": torch.zeros(19, 500), "label": 0, "person": "30"}
        >>> predictions = predict(model, [item, item])
        >>> predictions.logits.shape, predictions.groups["person"].tolist()
        ((2, 4), ['30', '30'])
    """
    _check_batch_size(batch_size)
    tqdm: Any = require("tqdm.auto", extra="train", purpose="show progress").tqdm
    device = next(model.parameters()).device
    system: Any = require_system(model)
    modalities = system.modalities
    loader: DataLoader[dict[str, Any]] = DataLoader(
        dataset, batch_size=batch_size, num_workers=num_workers, collate_fn=collate
    )
    groups = tuple(getattr(dataset, "groups", ("person",)) if groups is None else groups)
    logits, label = [], []
    people: dict[str, list[str]] = {group: [] for group in groups}
    single: dict[str, list[Tensor]] = {name: [] for name in modalities} if alone and len(modalities) > 1 else {}
    training = model.training
    model.eval()
    if not len(loader):
        raise DataError("dataset: expected at least one sample, got none.")
    try:
        for batch in tqdm(loader, desc=title, leave=False, disable=not progress):
            inputs = model_inputs(batch, modalities, device, system.masked)
            logits.append(model(**inputs).logits.float().cpu())
            for name, kept in single.items():
                kept.append(_alone(model, name, inputs, logits[-1].shape[1]))
            label.append(batch["label"])
            for group, ids in people.items():
                ids.extend(map(str, id_of(batch, group)))
    finally:
        model.train(training)
    return Predictions(
        torch.cat(logits).numpy(),
        torch.cat(label).numpy().astype(np.int64),
        {group: np.array(ids) for group, ids in people.items()},
        {name: torch.cat(kept).numpy() for name, kept in single.items()},
        {} if levels is None else levels,
    )


def _check_batch_size(batch_size: int) -> None:
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ConfigError(f"batch_size: expected a whole number of at least 1, got {batch_size!r}.")


def evaluate(model: nn.Module, dataset: Dataset[dict[str, Any]], **settings: Any) -> dict[str, Any]:
    """Return the metrics of a system on a part of a data set.

    Args:
        model: A system.
        dataset: The part.
        **settings: As :func:`predict` takes them.

    Returns:
        As :func:`~evermodels.training.summarize` gives them.

    Example:
        >>> import evermodels as em
        >>> model = em.create_model("ever_tiny", modalities=("eeg",))
        >>> item = {"eeg": torch.zeros(19, 500), "label": 0, "person": "30"}
        >>> result = evaluate(model, [item, item], batch_size=1)
        >>> result["samples"], result["accuracy"] == result["uar"] == result["per_person"]["person"]["uar"]["30"]
        (2, True)
    """
    return summarize(predict(model, dataset, **settings))


def _check_fold(name: str, said: Mapping[str, Any], told: Mapping[str, Any]) -> None:
    """Refuse a checkpoint of the same data and another fold."""
    same = all(said.get(key) == told.get(key) for key in ("dataset", "manifest_sha256"))
    if not told or not same or all(said.get(key) == value for key, value in told.items()):
        return
    if said.get("fold") == told.get("fold") and said.get("folds") == told.get("folds"):
        other = ", ".join(f"{key}={said.get(key)!r}" for key, value in told.items() if said.get(key) != value)
        raise ConfigError(
            f"model: {name!r} was trained on this data set with {other}. Test it on data of the same kind."
        )
    own, asked = (" of ".join(str(x[key]) for key in ("fold", "folds") if key in x) for x in (said, told))
    if "folds" in told:
        what, way_out = "manifest", "--folds, --fold"
    else:
        what = "data set"
        way_out = "data with " + ", ".join(f"{key}={said.get(key)!r}" for key in told if key != "dataset")
    raise ConfigError(
        f"model: {name!r} was trained on fold {own} of this {what}, so that people of fold {asked} may have trained "
        f"it. Test it on its own fold: {way_out}."
    )


def evaluate_checkpoint(
    name_or_dir: str | os.PathLike[str],
    recipe: Recipe,
    *,
    data_root: str | os.PathLike[str] | None = None,
    part: str = "test",
    ch_names: str | Sequence[str] | None = None,
    device: str | torch.device | None = None,
    batch_size: int = 64,
    progress: bool = False,
) -> dict[str, Any]:
    """Return the metrics of a checkpoint on a part of a recipe's data.

    Args:
        name_or_dir: A checkpoint's name or folder.
        recipe: Names the data, the people and the pairing; its model settings are not used.
        data_root: Folder of the recordings (default: ``EVERMODELS_DATA``).
        part: ``"validation"`` or ``"test"`` (or ``"train"``: people that it was trained on).
        ch_names: Channels of the recordings to read where they do not have all of the model's: its missing ones are
            interpolated, as :func:`evermodels.from_pretrained` does it. ``"auto"``: those that they have, where the
            model's are not all there.
        device: Where to run it (default: CPU).
        batch_size: Samples at once.
        progress: Whether to show a bar.

    Returns:
        As :func:`~evermodels.training.summarize` gives them, with ``part``, ``classes`` and 95 %
        ``intervals`` by metric.

    Raises:
        CheckpointError: If the checkpoint cannot be loaded.
        ConfigError: If it has other classes than the data, or there is no such part.
        DataError: If the data are not there, or lack channels of the model.

    Example:
        >>> from evermodels.training import load_recipe
        >>> evaluate_checkpoint("ever_tiny.quadrant", load_recipe("ever_tiny_quadrant"), data_root="nowhere")
        Traceback (most recent call last):
            ...
        evermodels.core.errors.DataError: eegmat: there is no folder 'nowhere/eegmat'. ...
    """
    from evermodels.checkpoints.load import from_pretrained
    from evermodels.training.bootstrap import intervals

    _check_batch_size(batch_size)
    auto = ch_names == "auto"
    model: Any = from_pretrained(name_or_dir, ch_names=None if auto else ch_names, device=device)
    require_system(model)
    try:
        parts = recipe.data.parts(model.input_spec, data_root=data_root)
    except MissingChannelsError as error:
        if auto:
            own: dict[str, Any] = {"ch_names": error.present, "batch_size": batch_size, "progress": progress}
            return evaluate_checkpoint(name_or_dir, recipe, data_root=data_root, part=part, device=device, **own)
        raise DataError(
            f"{error} Say which of these channels to read, and the model's missing ones are interpolated: "
            f"ch_names={list(error.present)} or fewer; on the command line --ch-names, with names or a montage such as "
            "eegmat."
        ) from error
    if model.config.num_classes != len(parts.classes):
        raise ConfigError(
            f"model: {os.fspath(name_or_dir)!r} has {model.config.num_classes} classes, the recipe's data "
            f"{len(parts.classes)} ({', '.join(parts.classes)})."
        )
    if model.classes is not None and tuple(model.classes) != parts.classes:
        raise ConfigError(
            f"model: {os.fspath(name_or_dir)!r} knows {', '.join(model.classes)}, in this order, and the data have "
            f"{', '.join(parts.classes)}. Give the data's classes in the model's order."
        )
    _check_fold(os.fspath(name_or_dir), model.provenance or {}, recipe.data.told())
    declared: dict[str, Any] = {"groups": parts.groups, "levels": parts.levels}
    predictions = predict(model, parts.part(part), batch_size=batch_size, progress=progress, title=part, **declared)
    return {
        "part": part,
        "classes": list(parts.classes),
        **summarize(predictions),
        "intervals": intervals(predictions),
    }
