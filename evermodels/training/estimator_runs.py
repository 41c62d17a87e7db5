"""One run of a baseline that is no network: fitted once, its strength chosen on validation people, tested once."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evermodels.datasets.parts import Parts, check_disjoint, id_of
from evermodels.datasets.splits import PARTS
from evermodels.training import provenance
from evermodels.training.bootstrap import intervals
from evermodels.training.build import build_model
from evermodels.training.estimators import eeg_windows, make_estimator
from evermodels.training.metrics import summarize, uar
from evermodels.training.predictions import Predictions
from evermodels.training.recipe import Recipe
from evermodels.training.state import folder_made, found, locked, write_sealed, writing


def fit_estimator(
    name: str,
    recipe: Recipe,
    run_dir: str | os.PathLike[str],
    *,
    C: Sequence[float] = (1.0,),
    seed: int = 0,
    data_root: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Fit a baseline on the training people, choose its ``C`` by the UAR of the validation people, test it once.

    The folder receives what a network's run leaves there (:func:`~evermodels.training.fit`), but for the model: a
    baseline is fitted again in seconds.

    Args:
        name: A key of :data:`~evermodels.training.ESTIMATORS`.
        recipe: Names the data; its model says which windows are read.
        run_dir: Folder of the run; made if it does not exist.
        C: Inverse strengths of the regularisation that are tried; the first of equals is taken.
        seed: For solvers that draw.
        data_root: Folder of the recordings (default: ``EVERMODELS_DATA``).

    Returns:
        The content of ``result.json``.

    Raises:
        TrainingError: If the folder holds another run, cannot be written, or another process works there.
        ConfigError: If there is no such baseline, or what it needs is not installed.
        DataError: If the data is missing, or somebody is in two parts.
    """
    run_dir = Path(run_dir)
    settings = estimator_settings(name, recipe, C)
    described = {
        "recipe": recipe.name,
        "row": None,
        "seed": seed,
        "recipe_digest": hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest(),
        "init_from": {},
        "settings": settings,
    }
    with folder_made(run_dir), locked(run_dir):
        if (finished := found(run_dir, described)) is not None:
            return finished
        before = provenance.machine()
        spec = build_model(recipe).input_spec
        parts = recipe.data.parts(spec, seed=seed, data_root=data_root)
        split = {part: parts.people(part) for part in PARTS}
        check_disjoint(split)
        with writing(run_dir):
            write_sealed(run_dir / "run.json", described)
        start = time.perf_counter()
        pipeline = make_estimator(name, spec.eeg.sfreq, C=C[0], seed=seed)
        train = eeg_windows(_items(parts, "train"))
        features = pipeline[:-1].fit_transform(train.X, train.y)  # the same for every C, as those of the others are
        others = {part: _Features(pipeline[:-1], parts, part) for part in ("validation", "test")}
        best: tuple[float, Any, Predictions] | None = None
        for strength in C:
            last = make_estimator(name, spec.eeg.sfreq, C=strength, seed=seed)[-1].fit(features, train.y)
            validation = others["validation"].predictions(last)
            if best is None or uar(validation) > uar(best[2]):
                best = strength, last, validation
        assert best is not None
        chosen, last, validation = best
        test = others["test"].predictions(last)
        result: dict[str, Any] = {
            **{key: value for key, value in described.items() if key != "settings"},
            "classes": list(parts.classes),
            "scores": dict(parts.scores),
            "parameters": int(sum(np.size(getattr(last, key)) for key in ("coef_", "intercept_"))),
            "selection": {"part": "validation", "metric": "uar", "value": uar(validation), "epoch": None, "C": chosen},
            "validation": summarize(validation),
            "test": {**summarize(test), "intervals": intervals(test)},
            "split": split,
            "command": provenance.command(recipe, None, seed),
            "versions": provenance.versions(),
            "commit": provenance.commit(),
            "device": "cpu",
            "machine": {"start": before, "end": provenance.machine()},
            "seconds": round(time.perf_counter() - start, 1),
        }
        with writing(run_dir):
            validation.save(run_dir / "predictions_validation.npz")
            test.save(run_dir / "predictions.npz")
            write_sealed(run_dir / "result.json", result)
    return result


def estimator_settings(name: str, recipe: Recipe, C: Sequence[float]) -> dict[str, Any]:
    """Return all that decides a baseline's result, in plain JSON.

    Args:
        name: The baseline.
        recipe: Names the data; its model says which windows are read.
        C: The strengths that are tried.
    """
    plain = recipe.to_dict()
    plain["data"].pop("num_workers")
    return {"estimator": {"name": name, "C": list(C)}, "data": plain["data"], "model": plain["model"]}


def _items(parts: Parts, name: str) -> list[dict[str, Any]]:
    part: Any = parts.part(name)
    return [part[index] for index in range(len(part))]


class _Features:
    """A part as the classifier sees it, computed once."""

    def __init__(self, transform: Any, parts: Parts, name: str) -> None:
        items = _items(parts, name)
        windows = eeg_windows(items)
        self.features, self.label, self.parts = transform.transform(windows.X), windows.y, parts
        self.people = {group: np.array([str(id_of(item, group)) for item in items]) for group in parts.groups}

    def predictions(self, classifier: Any) -> Predictions:
        """Return what a fitted classifier says.

        Args:
            classifier: The pipeline's last step.
        """
        if hasattr(classifier, "predict_log_proba"):
            found = classifier.predict_log_proba(self.features)
        else:
            found = classifier.decision_function(self.features)
            found = np.stack([-found, found], axis=1) / 2 if found.ndim == 1 else found
        # A class that nobody trains on is never the answer.
        logits = np.full((len(self.label), len(self.parts.classes)), np.finfo(np.float32).min, dtype=np.float64)
        logits[:, classifier.classes_] = np.maximum(found, np.finfo(np.float32).min)
        return Predictions(logits, self.label, self.people, levels=self.parts.levels)
