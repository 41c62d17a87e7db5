"""RandomAugmentation: what each way does to a signal, by sample; nothing in evaluation; names that there are not."""

from __future__ import annotations

import pytest
import torch

from evermodels.core.errors import ConfigError, ShapeError
from evermodels.layers import RandomAugmentation

X = torch.randn(400, 10, 50, generator=torch.Generator().manual_seed(1)).double() + 3


def changed(name: str) -> torch.Tensor:
    return RandomAugmentation((name,)).train()(X)


def test_noise_and_gain():
    noise = changed("jitter0.2") - X
    assert abs(noise.std().item() - 0.2) < 0.005 and abs(noise.mean().item()) < 0.005
    gain = changed("scale0.3") / X
    torch.testing.assert_close(gain, gain[..., :1].expand_as(gain))  # one number a channel
    assert abs(gain[..., 0].std().item() - 0.3) < 0.02 and abs(gain[..., 0].mean().item() - 1) < 0.02


def test_what_is_hidden_and_turned():
    y = changed("flip0.25")
    turned = (y == X.flip(2)).all(dim=(1, 2))
    assert ((y == X).all(dim=(1, 2)) ^ turned).all() and 60 < turned.sum() < 140
    gone = changed("mask0.1") == 0
    assert (gone.all(dim=1).sum(dim=1) == 5).all() and gone.any(dim=1).equal(gone.all(dim=1))
    assert not gone[0].equal(gone[1])
    gone = changed("channel0.35") == 0
    assert (gone.all(dim=2).sum(dim=1) == 3).all() and gone.any(dim=2).equal(gone.all(dim=2))
    assert abs((changed("drop0.2") == 0).double().mean().item() - 0.2) < 0.01


def test_frequencies():
    waves, before = torch.fft.rfft(changed("frequency0.3")).abs(), torch.fft.rfft(X).abs()
    gone = waves < 1e-9
    torch.testing.assert_close(torch.where(gone, before, waves), before)
    assert abs(gone.double().mean().item() - 0.3) < 0.01
    assert torch.isfinite(RandomAugmentation(("frequency",)).train()(X.to(torch.bfloat16))).all()


def test_each_way_comes_and_evaluation_draws_nothing():
    augment = RandomAugmentation(("none", "flip1", "scale"))
    seen = [augment(X) for _ in range(40)]
    kinds = {"none" if y.equal(X) else "flip" if y.equal(X.flip(2)) else "scale" for y in seen}
    assert kinds == {"none", "flip", "scale"}
    state = torch.get_rng_state()
    assert augment.eval()(X) is X and RandomAugmentation().train()(X) is X
    assert torch.equal(torch.get_rng_state(), state)
    assert repr(augment) == "RandomAugmentation(none, flip1, scale)"


@pytest.mark.parametrize("name", ["jiter", "jitter-1", "flip1.5", "mask1.0.0", "mask.", "none1", "", "jitter1e5"])
def test_names_that_there_are_not(name):
    with pytest.raises(ConfigError, match="augmentation: expected"):
        RandomAugmentation((name,))


def test_shape():
    with pytest.raises(ShapeError, match=r"x: expected \(batch, channels, time\)"):
        RandomAugmentation()(X[0])
