from .benchmark import BenchmarkReport as BenchmarkReport, run_benchmark as run_benchmark
from .benchmark_results import benchmark_table as benchmark_table
from .bootstrap import (
    Interval as Interval,
    Resamples as Resamples,
    interval as interval,
    metric_values as metric_values,
    paired_difference as paired_difference,
    verdict as verdict,
)
from .build import build_model as build_model
from .engine import fit as fit, run_folder as run_folder
from .estimator_runs import fit_estimator as fit_estimator
from .estimators import (
    ESTIMATORS as ESTIMATORS,
    Windows as Windows,
    eeg_windows as eeg_windows,
    make_estimator as make_estimator,
)
from .evaluation import evaluate as evaluate, evaluate_checkpoint as evaluate_checkpoint, predict as predict
from .fusion import late_fusion as late_fusion, own_late_fusion as own_late_fusion
from .metrics import auc_pr as auc_pr, auroc as auroc, summarize as summarize
from .optim import make_optimizer as make_optimizer, parameter_groups as parameter_groups
from .own_data import (
    finetune_manifest as finetune_manifest,
    manifest_recipe as manifest_recipe,
    pool_folds as pool_folds,
)
from .predictions import Predictions as Predictions, pool as pool
from .pretraining import (
    PretrainingRecipe as PretrainingRecipe,
    UnlabelledSettings as UnlabelledSettings,
    load_pretraining as load_pretraining,
    pretrain as pretrain,
)
from .recipe import Recipe as Recipe, Row as Row, list_recipes as list_recipes, load_recipe as load_recipe
from .rows import finetune as finetune, run_rows as run_rows
from .state import TrainingError as TrainingError
from .suite import Suite as Suite, load_suite as load_suite, plan as plan
from .tables import format_result as format_result, make_table as make_table
