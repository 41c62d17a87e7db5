"""Training: recipes, the engine, evaluation, intervals over people, tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evermodels.core.lazy import lazy_names

if TYPE_CHECKING:
    from evermodels.training.bootstrap import Interval, Resamples, interval, metric_values, paired_difference, verdict
    from evermodels.training.build import build_model
    from evermodels.training.data import Parts, make_parts
    from evermodels.training.engine import fit, run_folder
    from evermodels.training.evaluation import evaluate, evaluate_checkpoint, predict
    from evermodels.training.fusion import late_fusion, own_late_fusion
    from evermodels.training.metrics import Predictions, pool, summarize
    from evermodels.training.optim import learning_rate_factor, make_optimizer, parameter_groups
    from evermodels.training.recipe import Recipe, Row, list_recipes, load_recipe
    from evermodels.training.rows import finetune, run_rows
    from evermodels.training.state import TrainingError
    from evermodels.training.tables import format_result, make_table


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
    "late_fusion",
    "learning_rate_factor",
    "list_recipes",
    "load_recipe",
    "make_optimizer",
    "make_parts",
    "make_table",
    "metric_values",
    "own_late_fusion",
    "paired_difference",
    "parameter_groups",
    "pool",
    "predict",
    "run_folder",
    "run_rows",
    "summarize",
    "verdict",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "bootstrap": ("Interval", "Resamples", "interval", "metric_values", "paired_difference", "verdict"),
        "build": ("build_model",),
        "data": ("Parts", "make_parts"),
        "engine": ("fit", "run_folder"),
        "evaluation": ("evaluate", "evaluate_checkpoint", "predict"),
        "fusion": ("late_fusion", "own_late_fusion"),
        "metrics": ("Predictions", "pool", "summarize"),
        "optim": ("learning_rate_factor", "make_optimizer", "parameter_groups"),
        "recipe": ("Recipe", "Row", "list_recipes", "load_recipe"),
        "rows": ("finetune", "run_rows"),
        "state": ("TrainingError",),
        "tables": ("format_result", "make_table"),
    },
)
