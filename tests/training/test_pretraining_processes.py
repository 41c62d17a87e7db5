"""Two processes pre-train as one that joins the batches of both: the same weights."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

import evermodels as em
from evermodels.core import registry
from evermodels.datasets.unlabelled import MixedMontages, MixingSampler, join_montages
from evermodels.training.batches import mix_seeds
from evermodels.training.optim import make_optimizer
from evermodels.training.pretraining import _Loss, _some, _trained_by
from tests.training.two_pretrain import RECIPE, WORLD, windows

accelerate = pytest.importorskip("accelerate")
SCRIPT = Path(__file__).with_name("two_pretrain.py")


def together() -> torch.nn.Module:
    """Train in one process by the mean gradient of both processes' batches, each with its own random numbers."""
    accelerate.utils.set_seed(mix_seeds(0))
    encoder = registry.build(RECIPE.model.architecture, **RECIPE.model.config)
    loss = _Loss(_trained_by(encoder, RECIPE.pretraining)).train()
    train = MixedMontages({name: _some(some, 4, 1, held=False) for name, some in windows().items()})
    steps = RECIPE.steps_per_epoch
    samplers = [
        MixingSampler(train.sizes, 4, steps=steps, shares=RECIPE.data.shares, seed=mix_seeds(0, rank))
        for rank in range(WORLD)
    ]
    optimizer, schedule = make_optimizer(loss, RECIPE.optim, steps)
    for epoch in range(RECIPE.optim.epochs):
        batches, states = [], []
        for rank, sampler in enumerate(samplers):
            accelerate.utils.set_seed(mix_seeds(0, epoch, 2, rank))
            sampler.set_epoch(epoch)
            batches.append(list(DataLoader(train, batch_sampler=sampler, collate_fn=join_montages)))
            states.append(torch.get_rng_state())
        for step in range(steps):
            for rank in range(WORLD):
                torch.set_rng_state(states[rank])
                (loss(batches[rank][step])["total"] / WORLD).backward()
                states[rank] = torch.get_rng_state()
            if RECIPE.optim.grad_clip is not None:
                torch.nn.utils.clip_grad_norm_(loss.parameters(), RECIPE.optim.grad_clip)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    return encoder


def test_two_processes_are_one_with_both_batches(tmp_path):
    command = [sys.executable, str(SCRIPT)]
    rest = [str(tmp_path / "store"), str(tmp_path / "run")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen([*command, str(rank), *rest], env=environment, stderr=subprocess.PIPE, text=True)
        for rank in range(WORLD)
    ]
    try:
        said = [process.communicate(timeout=300)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * WORLD, said
    want, found = together().state_dict(), em.from_pretrained(tmp_path / "run/model").state_dict()
    start = registry.build(RECIPE.model.architecture, **RECIPE.model.config).state_dict()
    assert want.keys() == found.keys()
    for name, value in want.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")
    assert any(not torch.allclose(want[name], start[name], atol=1e-3) for name in want)
    assert not list((tmp_path / "run").glob("state-*"))
