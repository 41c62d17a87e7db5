"""Parameter groups, schedule, moving average."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from evermodels.training.build import build_model
from evermodels.training.optim import MovingAverage, learning_rate_factor, make_optimizer, parameter_groups
from evermodels.training.settings import LearningRates, OptimSettings


def test_each_parameter_is_in_exactly_one_group(fake):
    recipe = fake.make_recipe()
    rates = OptimSettings(lr=LearningRates(video_encoder=1.0, eeg_encoder=2.0, rest=3.0), weight_decay=0.5)
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


@pytest.mark.parametrize("mult", [1, 2])
def test_the_schedule_is_torchs_after_the_warm_up(mult):
    settings = OptimSettings(epochs=12, warmup_epochs=2, restart_epochs=3, restart_mult=mult, min_lr=1e-4)
    factor = learning_rate_factor(settings, 5, 1e-2)
    theirs = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(theirs, T_0=15, T_mult=mult, eta_min=1e-4)
    for step in range(10, 60):
        assert 1e-2 * factor(step) == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-9), step
        theirs.step()
        schedule.step()
    assert [factor(step) for step in (0, 5, 10)] == pytest.approx([0.01, 0.505, 1.0])


def test_without_restarts_there_is_one_period():
    factor = learning_rate_factor(OptimSettings(epochs=4, warmup_epochs=0), 10)
    assert [factor(s) for s in (0, 20, 39)] == pytest.approx([1.0, 0.5, 0.5 * (1 + math.cos(math.pi * 39 / 40))])


def test_a_rate_of_zero_freezes():
    model = nn.ModuleDict({"eeg_encoder": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    optimizer, schedule = make_optimizer(model, OptimSettings(lr=LearningRates(eeg_encoder=0.0), warmup_epochs=0), 4)
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
