"""Wrong arguments, and specs that contradict, as cases that the tests run and the fault table counts."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import evermodels as em
from evermodels.core.errors import CheckpointError, ConfigError, EvermodelsError
from tests.checkpoints.content_cases import at, edit, put
from tests.checkpoints.format_1 import written_in_format_1
from tests.checkpoints.local_cases import LocalCase, World

THERE = r"Leave it out for the CPU, or give one that is there: cpu"
TOO_MANY = r"num_classes: expected 0 \(the embedding\) to 100,000, got"
HUGE = (10**12, 10**18, 2**63, 10**30, 10**5000, 100_001, -1, -(10**12))
WRONG: dict[str, list[tuple[Any, str]]] = {
    "device": [
        *((d, rf"device: .* cannot be used here .*{THERE}") for d in ("nope", "", "cuda:99", "cpu:x", "xla", -1, "\0")),
        *((d, rf"device: expected a device such as 'cpu'.*{THERE}") for d in (1.5, b"cpu", True, ["cpu"], {})),
        *((d, rf"device: 'meta' holds no values.*{THERE}") for d in ("meta", torch.device("meta"))),
    ],
    "dtype": [
        ("float32", r"dtype: expected a floating-point type \(torch.float16, .*got 'float32'\. Give torch\.float32"),
        *(
            (
                d,
                r"dtype: expected a floating-point type \(torch.float16, torch.bfloat16, torch.float32, torch.float",
            )
            for d in (torch.int64, torch.complex64, torch.float8_e4m3fn, torch.bool, float, np.float32, 32, "x", "")
        ),
    ],
    "num_classes": [
        *((n, TOO_MANY) for n in HUGE),
        *(
            (n, TOO_MANY)
            for n in (True, False, 2.0, 2.5, "2", float("nan"), float("inf"), [2], np.float64(2), torch.ones(1))
        ),
    ],
    "ch_names": [
        ("Fz", r"ch_names: montage preset: 'Fz' does not exist.*It is one of: deap.*are a list"),
        *(
            (n, r"ch_names|channel|it cannot be loaded")
            for n in (5, [1, 2], [None], [""], ["\0"], [], b"Fz", {"Fz": 1}, ["Fz"] * 10_000)
        ),
    ],
    "cache_dir": [
        (d, r"cache_dir: expected a folder, or None for the client's own, got") for d in (5, "", b"x", True, [])
    ],
    "token": [
        (t, r"token: expected a token, False for none, or None for the stored one, got") for t in (5, b"x", [], 1.5)
    ],
    "revision": [
        (r, r"revision: expected a branch, a tag or a commit, or None, got|revision: .* has no rev")
        for r in (5, b"x", [], "main")
    ],
    "local_files_only": [(v, r"local_files_only: expected True or False, got") for v in ("no", 0, None, "", 1.0)],
}
NAMES: list[tuple[Any, str]] = [
    *(
        (n, r"name_or_dir_or_repo: expected a name, a folder or a repository 'organisation/name', got")
        for n in (None, 5, b"x", [], True)
    ),
    (
        "tiny_test",
        r"tiny_test: an architecture, which has no weights of its own; its checkpoints are: tiny_test.own\. With",
    ),
    (
        "ever_tiny",
        r"ever_tiny: an architecture, which has no weights of its own; it has no checkpoint\. Pretrained wei",
    ),
    ("\ud800", r"neither a pretrained name, nor a folder"),
    (Path("\0"), r"neither a pretrained name, nor a folder"),
]


def argument(w: World, name: str) -> int:
    for value, message in WRONG[name]:
        with pytest.raises(EvermodelsError, match=message) as error:
            em.from_pretrained(w.folder("folder"), **{name: value})
        assert len(str(error.value)) < 1000
    return len(WRONG[name])


def first_argument(w: World) -> int:
    for value, message in NAMES:
        with pytest.raises((ConfigError, CheckpointError), match=message):
            em.from_pretrained(value)
    return len(NAMES)


def too_many_classes(w: World) -> int:
    """A head of 10¹² classes is refused everywhere before memory is asked for."""
    count = 0
    for name in ("ever_tiny", "audio_mamba_nano", "videomae_nano"):
        model = em.create_model(name)
        before = model.state_dict(keep_vars=True)
        for number in HUGE:
            for call in (model.reset_classifier, functools.partial(_create, name)):
                with pytest.raises(ConfigError, match=TOO_MANY):
                    call(number)
                count += 1
        after = model.state_dict(keep_vars=True)
        assert all(after[key] is tensor for key, tensor in before.items())
    fusion = functools.partial(em.layers.BIHGCN, 8, 4, regions={"frontal": [0]})
    layer = fusion(num_classes=2)
    for number in HUGE:
        for call in (layer.reset_classifier, lambda n: fusion(num_classes=n)):
            with pytest.raises(ConfigError, match=TOO_MANY):
                call(number)
            count += 1
    return count


def _create(name: str, number: int) -> None:
    em.create_model(name, num_classes=number)


# -- an input spec that contradicts the config -------------------------------------------------------------------------

OTHER: dict[str, Any] = {
    "eeg.ch_names": ["Fp1", "Fp2"],
    "eeg.sfreq": 123.0,
    "eeg.window_seconds": 2.5,
    "eeg.l_freq": 0.7,
    "eeg.h_freq": 33.0,
    "eeg.notch": 40.0,
    "eeg.reference": "average",
    "eeg.scale": "zscore",
    "eeg.baseline": "sleep",
    "video.num_frames": 7,
    "video.size": [32, 32],
    "video.face_crop": False,
    "eeg": None,
    "video": None,
}
FREE: dict[str, Any] = {"video.mean": [0.5, 0.5, 0.5], "video.std": [0.5, 0.5, 0.5], "video.margin": 0.2}


def contradiction(w: World) -> int:
    """The digests are taken out and one key of the input spec is another: refused, with both values."""
    _, folder = written_in_format_1(w.root / "ever")
    text = (folder / "config.json").read_bytes()
    spec = json.loads(text)["input_spec"]
    for place, value in {**OTHER, **FREE}.items():
        keys = ("input_spec", *place.split("."))
        (folder / "config.json").write_bytes(text)
        edit(folder, lambda content, keys=keys, value=value: content.update(put(content, keys, value)))
        if place in FREE:
            loaded = em.from_pretrained(folder)
            assert at(loaded.input_spec.to_dict(), keys[1:]) == value
            continue
        own = at(spec, keys[1:])
        with pytest.raises(
            ConfigError, match=rf"input_spec\.{place}: .* contradicts config, from which follows"
        ) as error:
            em.from_pretrained(folder)
        if len(keys) == 3:
            shown = [repr(tuple(v) if isinstance(v, list) else v) for v in (value, own)]
            assert shown[0] in str(error.value) and shown[1][:60] in str(error.value)
    return len(OTHER) + len(FREE)


def contradiction_of_a_backbone(w: World) -> int:
    """Also where a class has no other reading of format 1 than today's: nothing of the spec is dropped in silence."""
    folder = em.create_model("videomae_nano").save_pretrained(w.root / "video")
    own = em.from_pretrained(folder).input_spec.video.to_dict()
    for key, value in (("num_frames", 7), ("mean", [0.5] * 3), ("face_crop", False)):
        spec = {"eeg": None, "video": {**own, key: value}}
        edit(folder, lambda content, spec=spec: content.update(format_version=1, input_spec=spec))
        with pytest.raises(ConfigError, match=rf"input_spec\.video\.{key}: .* contradicts config"):
            em.from_pretrained(folder)
    edit(folder, lambda content: content.update(input_spec={"eeg": None, "video": own}))
    assert em.from_pretrained(folder).input_spec.video.to_dict() == own
    return 3


def _cases() -> Iterator[LocalCase]:
    for name in WRONG:
        yield LocalCase(name, "argument of a wrong type or size", functools.partial(argument, name=name))
    yield LocalCase("name", "argument of a wrong type or size", first_argument)
    yield LocalCase("classes", "argument of a wrong type or size", too_many_classes)
    yield LocalCase("loaded", "input spec that contradicts the config", contradiction)
    yield LocalCase("of a backbone", "input spec that contradicts the config", contradiction_of_a_backbone)


CASES: list[LocalCase] = list(_cases())
