"""Parameter groups, schedule, moving average."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from evermodels.core.errors import ConfigError
from evermodels.training.build import build_model
from evermodels.training.optim import MovingAverage, make_optimizer, parameter_groups
from evermodels.training.settings import OptimSettings


def test_each_parameter_is_in_exactly_one_group(fake):
    recipe = fake.make_recipe()
    rates = OptimSettings(lr={"video_encoder": 1.0, "eeg_encoder": 2.0, "rest": 3.0}, weight_decay=0.5)
    for row in ("eeg", "video", "naive", "ever"):
        model = build_model(recipe.for_row(row))
        groups = parameter_groups(model, rates)
        ids = [id(p) for group in groups for p in group["params"]]
        assert sorted(ids) == sorted(id(p) for p in model.parameters())
        assert len(set(ids)) == len(ids)
        where = {id(p): group for group in groups for p in group["params"]}
        for name, p in model.named_parameters():
            group = where[id(p)]
            assert group["lr"] == {"video_encoder": 1.0, "eeg_encoder": 2.0}.get(name.partition(".")[0], 3.0), name
            if p.ndim <= 1 or "token" in name or "A_log" in name:
                assert group["weight_decay"] == 0.0, name
        weight = dict(model.named_parameters())["head.weight" if row != "ever" else "fusion.proj.weight"]
        assert where[id(weight)]["weight_decay"] == 0.5


def test_frozen_parameters_and_timm_lists_are_honoured():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.zeros(2, 2))
            self.plain = nn.Parameter(torch.zeros(2, 2))
            self.fixed = nn.Parameter(torch.zeros(2, 2), requires_grad=False)

        def no_weight_decay(self):
            return {"table"}

    model = nn.ModuleDict({"part": Net()})
    groups = {group["name"]: group["params"] for group in parameter_groups(model, OptimSettings())}
    assert groups["rest"] == [model["part"].plain] and groups["rest, no decay"] == [model["part"].table]


def rates(settings, steps, groups=None):
    """The rates of each step, by group."""
    model = groups or nn.Linear(2, 2, bias=False)
    optimizer, schedule = make_optimizer(model, settings, steps)
    seen = []
    for _ in range(settings.epochs * steps):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return np.array(seen)


@pytest.mark.parametrize("mult", [1, 2])
@pytest.mark.parametrize("warmup", [0, 0.4, 2])
def test_the_schedule_is_a_warm_up_and_the_papers_cosine(mult, warmup):
    settings = OptimSettings(
        epochs=12, warmup_epochs=warmup, restart_epochs=3, restart_mult=mult, min_lr=1e-4, lr={"rest": 1e-2}
    )
    first, want = round(warmup * 5), []
    for step in range(60):
        place, period = step - first, 15
        while place >= period:
            place, period = place - period, period * mult
        cosine = 1e-4 + (1e-2 - 1e-4) * 0.5 * (1 + math.cos(math.pi * place / period))
        want.append(1e-2 * (0.01 + 0.99 * step / first) if step < first else cosine)
    np.testing.assert_allclose(rates(settings, 5)[:, 0], want, rtol=1e-12)


def test_without_restarts_there_is_one_period():
    seen = rates(OptimSettings(epochs=4, warmup_epochs=0, lr={"rest": 1.0}), 10)[:, 0]
    assert seen[[0, 20, 39]] == pytest.approx([1.0, 0.5, 0.5 * (1 + math.cos(math.pi * 39 / 40))])


def test_each_group_goes_its_own_way():
    model = nn.ModuleDict({"eeg_encoder": nn.Linear(2, 2, bias=False), "head": nn.Linear(2, 2, bias=False)})
    seen = rates(OptimSettings(epochs=3, lr={"eeg_encoder": 1e-4, "rest": 1e-2}), 7, model)
    np.testing.assert_allclose(seen[:, 1], 100 * seen[:, 0], rtol=1e-12)


def test_any_prefix_of_a_name_has_its_rate(fake):
    model = build_model(fake.make_recipe().for_row("ever"))
    lr = {"eeg_encoder": 1.0, "eeg_encoder.patch_embed": 2.0, "fusion": 3.0, "rest": 4.0, "audio_encoder": 5.0}
    where = {id(p): group for group in parameter_groups(model, OptimSettings(lr=lr)) for p in group["params"]}
    for name, p in model.named_parameters():
        want = next((r for k, r in sorted(lr.items(), key=lambda e: -len(e[0])) if f"{name}.".startswith(f"{k}.")), 4.0)
        assert where[id(p)]["lr"] == want, name
    assert {group["lr"] for group in where.values()} == {1.0, 2.0, 3.0, 4.0}
    for wrong in ("egg_encoder", "eeg_enc", "eeg_encoder.bloks"):
        with pytest.raises(ConfigError, match=f"EVER has no sub-module '{wrong}'.*It has .*eeg_encoder, .*and rest"):
            parameter_groups(model, OptimSettings(lr={wrong: 1.0}))
    with pytest.raises(ConfigError, match="nothing is left to train"):
        make_optimizer(model, OptimSettings(lr={"rest": 0.0}), 3)
    with pytest.raises(
        ConfigError, match=r"OptimSettings.lr.rest: expected 0 \(frozen\), or at least min_lr, got 1e-05"
    ):
        OptimSettings(lr={"rest": 1e-5}, min_lr=1e-4)


def test_a_rate_of_zero_freezes():
    model = nn.ModuleDict({"eeg_encoder": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    optimizer, schedule = make_optimizer(model, OptimSettings(lr={"eeg_encoder": 0.0}, warmup_epochs=0), 4)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    for _ in range(3):
        model["head"](model["eeg_encoder"](torch.ones(1, 2))).sum().backward()
        optimizer.step()
        schedule.step()
    assert torch.equal(model["eeg_encoder"].weight, before["eeg_encoder.weight"])
    assert not torch.equal(model["head"].weight, before["head.weight"])


def test_the_moving_average_by_hand():
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(0.0)
    average = MovingAverage(model, decay=0.15)
    value = None
    for n, w in enumerate([1.0, 2.0, 4.0]):
        model.weight.data.fill_(w)
        average.update_parameters(model)
        d = min(0.15, (1 + n) / (10 + n))
        value = w if value is None else d * value + (1 - d) * w
        assert average.module.weight.item() == pytest.approx(value)
