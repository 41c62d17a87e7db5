"""Bad input, case by case for each of the four systems: a clear error or the documented mask, never NaN in a loss."""

from __future__ import annotations

import copy
import functools

import numpy as np
import pytest
import torch

import evermodels as em
from evermodels.core.errors import ConfigError, ShapeError, SignalError
from evermodels.signals import EEG, Eye
from tests import toys

SYSTEMS = ["mood_reader_tiny", "milmer_tiny", "mercl_tiny", "trimodal_tiny"]
over_systems = pytest.mark.parametrize("name", SYSTEMS)


def draw(model, n: int = 4) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(1)
    return {m: 3 * torch.randn(n, *model.input_spec.shape(m), generator=g) for m in model.modalities}


@functools.cache
def pristine(name: str):
    torch.manual_seed(3)
    model = em.create_model(name, **toys.shallow(name))
    model.fit_statistics([draw(model)])
    return model


def build(name: str):
    return copy.deepcopy(pristine(name))


def trains(model, inputs, labels, **given) -> None:
    """The loss and all its gradients are finite."""
    counts = torch.bincount(labels, minlength=model.config.num_classes).tolist()
    output = model.train()(**inputs, **given)
    loss = model.make_loss(counts)(output, labels, given.get("present"))
    loss.total.backward()
    assert all(torch.isfinite(term).all() for term in loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert any(p.grad is not None and p.grad.any() for p in model.parameters())


@over_systems
def test_a_batch_of_one_class_and_one_without_a_pair_of_a_class(name):
    model = build(name)
    inputs, classes = draw(model), model.config.num_classes
    trains(model, inputs, torch.zeros(4, dtype=torch.long))
    trains(build(name), {m: x[:classes] for m, x in inputs.items()}, torch.arange(min(4, classes)))


@pytest.mark.parametrize("name", SYSTEMS[1:])
@pytest.mark.parametrize("valid", [1, 0])
def test_fewer_valid_frames_than_are_chosen_and_none(name, valid):
    model = build(name)
    inputs = draw(model)
    mask = torch.ones(inputs["video"].shape[:2], dtype=torch.bool)
    mask[0, valid:] = False
    inputs["video"][~mask] = float("nan")
    trains(model, inputs, torch.arange(4) % model.config.num_classes, masks={"video": mask})
    with torch.no_grad():
        output = model.eval()(**inputs, masks={"video": mask})
    assert torch.isfinite(output.logits).all()
    if "frames" in output.attention:
        chosen = output.attention["frames"][0] > 0
        assert not chosen[valid:].any() and chosen[:valid].all()


@pytest.mark.parametrize("name", ["mercl_tiny", "trimodal_tiny"])
def test_silent_and_clipped_sound(name):
    model = build(name)
    inputs = draw(model)
    reader = em.signals.Preprocessor(model.input_spec).readers["audio"]
    seconds = model.input_spec.window_seconds
    noise = torch.randn(round(2 * seconds * 16000)).clamp(-1, 1).sign().numpy()
    silence = 0 * noise
    for k, sound in enumerate((silence, noise)):
        window = next(reader.windows(em.signals.Audio(sound, sfreq=16000), [0.0], seconds))
        inputs["audio"][k] = window.tensor
        assert window.usable == bool(k)
    masks = torch.ones(inputs["audio"].shape[:2], dtype=torch.bool)
    masks[0] = False
    trains(model, inputs, torch.arange(4) % model.config.num_classes, masks={"audio": masks})
    trains(build(name), inputs, torch.arange(4) % model.config.num_classes)


@over_systems
def test_a_modality_of_nan_is_named_unless_it_is_said_to_be_absent(name):
    model = build(name).eval()
    inputs = draw(model)
    for modality in model.modalities:
        broken = {**inputs, modality: torch.full_like(inputs[modality], float("nan"))}
        with pytest.raises(SignalError, match=rf'{modality}: .* NaN.*present=\{{"{modality}"'):
            model(**broken)
        there = {modality: torch.zeros(4, dtype=torch.bool)}
        output = model(**broken, present=there)
        without = model(**{m: x for m, x in inputs.items() if m != modality})
        torch.testing.assert_close(output.logits, without.logits, rtol=1e-4, atol=1e-5)
        trains(build(name), broken, torch.arange(4) % model.config.num_classes, present=there)


@over_systems
def test_batch_sizes_that_differ_and_windows_of_another_length(name):
    model = build(name).eval()
    inputs = draw(model)
    first, *_, last = model.modalities
    with pytest.raises(ShapeError, match=rf"same batch size, got .*{first} 4.*{last} 3"):
        model(**{**inputs, last: inputs[last][:3]})
    for modality, x in inputs.items():
        axis = 2 if modality == "eeg" else 1
        with pytest.raises(ShapeError, match=rf"{modality}: expected"):
            model(**{**inputs, modality: x.narrow(axis, 0, x.shape[axis] - 1)})


@over_systems
def test_one_electrode(name):
    torch.manual_seed(3)
    model = em.create_model(name, ch_names=("Cz",), **toys.shallow(name))
    model.fit_statistics([draw(model)])
    assert draw(model)["eeg"].shape[1] == 1
    trains(model, draw(model), torch.arange(4) % model.config.num_classes)
    carried = build(name)
    with pytest.raises(ConfigError, match=r"only 1 of the 19 channels .* are among the recording's Cz"):
        carried.adapt_montage(("Cz",))
    carried.adapt_montage(("Cz",), min_real=0.0)
    assert torch.isfinite(carried.eval()(**draw(carried)).logits).all()


def test_closed_eyes_throughout():
    """Refused where no window shows an eye; windows among others are answered from EEG alone (test_mood_reader.py)."""
    model = build("mood_reader_tiny").eval()
    times = np.arange(0, 10, 1 / 60)
    units = {"time": "s", "pupil": "mm"}
    with pytest.raises(
        SignalError, match=r"nothing of pupil was measured.*the code of a closed eye.*Leave the column out"
    ):
        Eye({"time": times, "pupil": np.full(600, -1.0), "openness": np.zeros(600)}, unit=units)
    seen = times < 0.2
    eye = Eye({"time": times, "pupil": np.where(seen, 3.5, -1.0), "openness": np.where(seen, 0.9, 0.0)}, unit=units)
    eeg = EEG(20 * torch.randn(19, 2000).numpy(), ch_names=model.config.ch_names, sfreq=200.0, unit="uV")
    with pytest.raises(
        SignalError, match=r"eye: only 4 % of it was measured \(at least 50 % are needed\) in any of 2 windows"
    ):
        em.Recognizer(model).predict(eeg=eeg, eye=eye)
