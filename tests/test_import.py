"""``import evermodels`` in a fresh process: light, lazy, quiet."""

import json
import re
import subprocess
import sys

import pytest

import evermodels

HEAVY = {
    "accelerate",
    "av",
    "causal_conv1d",
    "cv2",
    "huggingface_hub",
    "mamba_ssm",
    "matplotlib",
    "mne",
    "pooch",
    "sklearn",
    "soundfile",
    "timm",
    "torch_geometric",
    "torchvision",
    "transformers",
}

# One process for all stages: starting one costs as much as importing torch.
SCRIPT = """
import json, logging, sys
stages = {}

def note(stage):
    stages[stage] = sorted(sys.modules)

handlers = list(logging.root.handlers)
import evermodels
note("import")
dir(evermodels), evermodels.list_models("*"), evermodels.list_models(pretrained=True)
note("list_models")
from evermodels import functional, montage, layers, losses, backbones, models, signals, datasets
from evermodels.core import config, errors, outputs, registry, specs
note("rooms")
quiet = handlers == logging.root.handlers and not logging.getLogger("evermodels").handlers
print(json.dumps({"stages": stages, "quiet": quiet}))
"""


@pytest.fixture(scope="module")
def fresh():
    """What a new interpreter has loaded after each stage."""
    command = [sys.executable, "-W", "error::DeprecationWarning:evermodels", "-c", SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.mark.parametrize("stage", ["import", "list_models", "rooms"])
def test_nothing_heavy(fresh, stage):
    assert {name.partition(".")[0] for name in fresh["stages"][stage]} & HEAVY == set()


def test_unused_rooms_are_not_imported(fresh):
    ours = {m.split(".")[1] for m in fresh["stages"]["list_models"] if m.startswith("evermodels.")}
    assert ours <= {"_version", "core", "checkpoints", "zoo"}


def test_no_log_handler(fresh):
    assert fresh["quiet"]


def test_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc|\.dev)\d+)?", evermodels.__version__)
