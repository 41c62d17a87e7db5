"""Order and mixup."""

from __future__ import annotations

import torch

from evermodels.training.batches import EpochSampler, Mixup
from evermodels.training.build import build_model


def test_the_order_depends_on_seed_and_epoch_alone():
    def order(seed, epoch):
        sampler = EpochSampler(20, seed)
        sampler.set_epoch(epoch)
        torch.rand(7)
        return list(sampler)

    assert order(0, 1) == order(0, 1)
    assert sorted(order(0, 1)) == list(range(20))
    assert len({tuple(order(s, e)) for s in range(3) for e in range(3)}) == 9


def test_groups_stay_together():
    sampler = EpochSampler(40, seed=0, group=4)
    order = torch.tensor(list(sampler)).view(10, 4)
    assert torch.equal(order - order[:, :1], torch.arange(4).expand(10, 4))
    assert sorted(order[:, 0].tolist()) == list(range(0, 40, 4))
    assert order[:, 0].tolist() != list(range(0, 40, 4))


def test_mixup_mixes_spectrograms_and_pictures(fake):
    model = build_model(fake.make_recipe().for_row("ever"))
    model.train()
    eeg, video = torch.randn(4, 4, 64), torch.randn(4, 2, 3, 16, 16)
    plain = model.spectrogram.stft(eeg)
    mixup = Mixup(model, 0.4)
    mixed, partner, factor = mixup({"eeg": eeg, "video": video}, torch.arange(4))
    assert torch.equal(mixed["eeg"], eeg)
    torch.testing.assert_close(mixed["video"], factor * video + (1 - factor) * video[partner])
    torch.testing.assert_close(model.spectrogram.stft(eeg), factor * plain + (1 - factor) * plain[partner])
    model.eval()
    assert torch.equal(model.spectrogram.stft(eeg), plain)
    model.train()
    mixup.close()
    assert torch.equal(model.spectrogram.stft(eeg), plain)


def test_mixup_of_a_model_without_spectrograms_mixes_its_input():
    x = torch.randn(3, 2, 8)
    mixup = Mixup(torch.nn.Linear(2, 2), 1.0)
    mixed, partner, factor = mixup({"eeg": x}, torch.arange(3))
    torch.testing.assert_close(mixed["eeg"], factor * x + (1 - factor) * x[partner])
