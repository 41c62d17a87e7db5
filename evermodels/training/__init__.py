"""Training: recipes, the engine, evaluation, intervals over people, tables."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evermodels.training.bootstrap import Interval, Resamples, interval, metric_values, paired_difference
    from evermodels.training.build import build_model, load_encoder
    from evermodels.training.data import Parts, make_parts
    from evermodels.training.engine import TrainingError, fit, run_folder
    from evermodels.training.evaluation import evaluate, evaluate_checkpoint, predict
    from evermodels.training.metrics import Predictions, summarize
    from evermodels.training.optim import learning_rate_factor, make_optimizer, parameter_groups
    from evermodels.training.recipe import Recipe, Row, list_recipes, load_recipe
    from evermodels.training.rows import finetune, run_rows
    from evermodels.training.tables import format_result, make_table

_HOMES = {
    **dict.fromkeys(("Interval", "Resamples", "interval", "metric_values", "paired_difference"), "bootstrap"),
    **dict.fromkeys(("Parts", "make_parts"), "data"),
    **dict.fromkeys(("build_model", "load_encoder"), "build"),
    **dict.fromkeys(("TrainingError", "fit", "run_folder"), "engine"),
    **dict.fromkeys(("evaluate", "evaluate_checkpoint", "predict"), "evaluation"),
    **dict.fromkeys(("Predictions", "summarize"), "metrics"),
    **dict.fromkeys(("learning_rate_factor", "make_optimizer", "parameter_groups"), "optim"),
    **dict.fromkeys(("Recipe", "Row", "list_recipes", "load_recipe"), "recipe"),
    **dict.fromkeys(("finetune", "run_rows"), "rows"),
    **dict.fromkeys(("format_result", "make_table"), "tables"),
}

__all__ = [
    "Interval",
    "Parts",
    "Predictions",
    "Recipe",
    "Resamples",
    "Row",
    "TrainingError",
    "build_model",
    "evaluate",
    "evaluate_checkpoint",
    "finetune",
    "fit",
    "format_result",
    "interval",
    "learning_rate_factor",
    "list_recipes",
    "load_encoder",
    "load_recipe",
    "make_optimizer",
    "make_parts",
    "make_table",
    "metric_values",
    "paired_difference",
    "parameter_groups",
    "predict",
    "run_folder",
    "run_rows",
    "summarize",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
