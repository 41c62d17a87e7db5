"""The command line can what Python can: each argument of a function has its option, or a reason why it has none."""

from __future__ import annotations

import argparse
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

import evermodels as em
from evermodels import cli, demo, training
from evermodels.checkpoints.convert import convert
from evermodels.checkpoints.push import push_to_hub
from evermodels.cli_predict import option_flags
from evermodels.core.specs import MODALITIES
from evermodels.datasets.manifest import RecordingsSettings
from evermodels.models.system import System
from evermodels.report import write_report
from evermodels.signals import Preprocessor
from evermodels.signals.describe import describe_recording
from evermodels.signals.room import reader_class

READERS = {name: reader_class(name) for name in MODALITIES}


class Function(NamedTuple):
    """A function of Python, and where its arguments stand on the command line.

    `options` maps an argument to the option of another name, `reasons` to why it needs none.
    """

    call: Callable[..., Any]
    options: Mapping[str, str] = MappingProxyType({})
    reasons: Mapping[str, str] = MappingProxyType({})


TOKEN = "a secret on a command line is seen by everybody on the machine; HF_TOKEN or 'hf auth login'"
BAR = "a bar is drawn where stderr is a terminal"
IN_PYTHON = "the text of a page of one's own is written in Python"
ARRAY = "says what an array does not; a file knows it"

LOAD = Function(
    em.from_pretrained,
    {"name_or_dir_or_repo": "model"},
    {
        "num_classes": "another number of classes means a head with random weights, which finetune trains",
        "token": TOKEN,
        "dtype": "half precision is for training and servers",
    },
)
ADAPT = Function(
    System.adapt_montage,
    reasons={
        "min_real": "of a recording with fewer than half of the model's channels most would be made up; who wants that "
        "all the same says so in Python, as the error shows"
    },
)
RECORDINGS = {
    "eeg": {"source": "eeg", "start": "start", "ch_names": "ch_names"},
    "video": {"source": "video", "start": "start"},
    "audio": {"source": "audio", "start": "start"},
    "eye": {"source": "eye", "start": "start"},
}
KNOWN_BY_A_FILE = {"eeg": ("sfreq", "events"), "audio": ("sfreq",)}
OPTIONS = {
    "face": ("whole_picture", "None is --whole-picture; a function that finds faces is Python"),
    "eye_table": ("columns", "what it holds is said of the file: --columns, --eye-unit, --where, ..."),
}


def recording(name: str) -> Function:
    own = {option.name: flag for flag, modality, option in option_flags() if modality == name}
    return Function(
        READERS[name].recording, {**RECORDINGS[name], **own}, dict.fromkeys(KNOWN_BY_A_FILE.get(name, ()), ARRAY)
    )


COMMANDS: dict[str, list[Function]] = {
    "list": [Function(em.list_models)],
    "info": [
        LOAD._replace(
            reasons={**LOAD.reasons, "device": "nothing is computed"}, options={"name_or_dir_or_repo": "name"}
        ),
        Function(describe_recording, {"source": "name", "input_spec": "model", "form": "unit"}),
    ],
    "demo": [Function(demo.run, reasons={"progress": BAR})],
    "predict": [
        LOAD,
        ADAPT,
        Function(em.Recognizer, {"options": "whole_picture"}),
        Function(em.Recognizer.predict, {"recordings": "eeg"}, {"progress": BAR}),
        Function(Preprocessor, {"options": "whole_picture"}, {"input_spec": "the model's"}),
        Function(
            write_report,
            {"recognition": "model", "path": "out"},
            dict.fromkeys(("title", "intro", "truth", "notes", "limits", "sources"), IN_PYTHON),
        ),
        Function(em.Recognizer.predict.__globals__["Recognition"].to_csv, {"path": "csv"}),
        *map(recording, MODALITIES),
        *(
            Function(
                reader,
                {key: value for key, (value, _) in OPTIONS.items()},
                {"spec": "the model's", "window_seconds": "the model's; --window-seconds says another"},
            )
            for reader in READERS.values()
        ),
    ],
    "finetune": [
        Function(training.load_recipe, {"name_or_path": "recipe", "overrides": "set"}),
        Function(
            training.finetune, {"run_root": "run_dir", "data_root": "data", "resume": "restart"}, {"progress": BAR}
        ),
        Function(training.manifest_recipe, {"manifest": "data", "overrides": "set"}),
        Function(training.finetune_manifest, {"run_root": "run_dir", "resume": "restart"}, {"progress": BAR}),
        Function(training.pool_folds, {"run_root": "run_dir"}),
        Function(
            training.fit,
            {"data_root": "data", "resume": "restart"},
            {
                "progress": BAR,
                "init_from": "rows of a recipe say it",
                "parts": "a data set of one's own objects; a manifest lists files",
            },
        ),
        Function(
            RecordingsSettings,
            {"manifest": "data", "num_workers": "set", "overlap": "set", "n_validation": "set"},
            {"dataset": "a manifest is one", "sha256": "the manifest's own"},
        ),
    ],
    "pretrain": [
        Function(training.load_pretraining, {"name_or_path": "recipe", "overrides": "set"}),
        Function(
            training.pretrain,
            {"data_root": "data", "resume": "restart"},
            {"progress": BAR, "sets": "data sets of one's own objects; a recipe names data sets"},
        ),
    ],
    "evaluate": [
        Function(training.evaluate_checkpoint, {"name_or_dir": "model", "data_root": "data"}, {"progress": BAR})
    ],
    "benchmark": [
        Function(training.run_rows, {"run_root": "run_dir", "data_root": "data"}, {"progress": BAR}),
        Function(training.run_benchmark, {"run_root": "run_dir", "data_root": "data"}, {"progress": BAR}),
        Function(training.make_table, {"run_root": "run_dir"}),
    ],
    "convert": [Function(convert, {"config": "set"})],
    "push": [
        Function(
            push_to_hub,
            {"model_or_folder": "folder", "commit_message": "message"},
            {"token": TOKEN, "saved": "they say how a model is written; a folder is written"},
        )
    ],
}
"""What each command stands for."""

MORE = {
    "finetune": {"fold": "which of the folds, or all", "model": "of manifest_recipe", "ch_names": "of manifest_recipe"},
    "evaluate": {"set": "of load_recipe", "folds": "of manifest_recipe", "fold": "of manifest_recipe"},
    "benchmark": {"set": "of load_recipe"},
}
"""Options of a command that no function of its list has."""
FIXED = {"self", "recipe", "kwargs"}


@functools.cache
def dests(command: str) -> set[str]:
    commands = next(a for a in cli.build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return {action.dest for action in commands.choices[command]._actions} - {"help"}


def parameters(call: Callable[..., Any]) -> Iterator[str]:
    return (name for name in inspect.signature(call).parameters if name not in FIXED)


def cases() -> list[tuple[str, Function]]:
    return [(command, function) for command, functions in COMMANDS.items() for function in functions]


def test_every_command_is_walked() -> None:
    commands = next(a for a in cli.build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    assert set(COMMANDS) == set(commands.choices)


@pytest.mark.parametrize(
    ("command", "function"), cases(), ids=[f"{c}-{f.call.__module__}.{f.call.__qualname__}" for c, f in cases()]
)
def test_each_argument_has_its_option_or_a_reason(command: str, function: Function) -> None:
    there, wanted = dests(command), list(parameters(function.call))
    assert wanted
    lacking = [
        name for name in wanted if name not in function.reasons and function.options.get(name, name) not in there
    ]
    assert not lacking, f"{command}: no option for {lacking} of {function.call.__qualname__}, and no reason"
    for name, reason in function.reasons.items():
        assert name in wanted and reason, f"{function.call.__qualname__} has no {name}"


@pytest.mark.parametrize("command", COMMANDS)
def test_each_option_is_an_argument_of_a_function(command: str) -> None:
    meant = {function.options.get(name, name) for function in COMMANDS[command] for name in parameters(function.call)}
    meant |= {flag for flag, _, _ in option_flags()} if command in ("predict", "info") else set()
    if command == "predict":
        meant |= {switch.name.replace("-", "_") for reader in READERS.values() for switch in reader.switches}
    extra = dests(command) - meant - set(MORE.get(command, {})) - {"data", "recipe"}
    assert not extra, f"{command}: {extra} are of no function that it stands for"


def test_every_option_of_a_reader_is_a_flag() -> None:
    for reader in READERS.values():
        given = {option.name for option in reader.settings} | {key for s in reader.switches for key in s.options}
        own = {p.name for p in inspect.signature(reader).parameters.values() if p.kind is p.KEYWORD_ONLY}
        assert given <= own and own - given <= {"eye_table"}
