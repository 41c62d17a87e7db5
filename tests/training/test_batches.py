"""Order, joining, presence and mixup."""

from __future__ import annotations

import pytest
import torch

from evermodels.core.errors import DataError
from evermodels.core.specs import EEGSpec, InputSpec, VideoSpec
from evermodels.layers import STFTSpectrogram
from evermodels.training.batches import EpochSampler, Mixup, collate, model_inputs


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


def test_mixup_mixes_pictures_and_the_power_of_waves():
    spec = InputSpec(window_seconds=1.0, eeg=EEGSpec(("Cz", "Pz"), 256.0), video=VideoSpec(2, (4, 4)))
    mixup = Mixup(spec, 0.4)
    eeg, video = torch.randn(64, 2, 256), torch.randn(64, 2, 3, 4, 4)
    torch.manual_seed(2)
    partner, factor = mixup.draw(torch.arange(64))
    mixed = mixup.mix({"eeg": eeg, "video": video})
    torch.testing.assert_close(mixed["video"], factor * video + (1 - factor) * video[partner])
    others = partner != torch.arange(64)
    want = factor**0.5 * eeg + (1 - factor) ** 0.5 * eeg[partner]
    torch.testing.assert_close(mixed["eeg"][others], want[others])
    assert not others.all() and torch.equal(mixed["eeg"][~others], eeg[~others])  # with itself it is itself
    # Of waves that know nothing of each other the powers are mixed.
    power = mixed["eeg"].square().mean((1, 2))[others]
    want = factor * eeg.square().mean((1, 2)) + (1 - factor) * eeg[partner].square().mean((1, 2))
    assert (power - want[others]).abs().mean() < 0.05 and power.mean() == pytest.approx(1, abs=0.05)
    torch.testing.assert_close(mixup.mix({"video": video})["video"], mixed["video"])  # a second reading likewise


class RawBesideGraph(torch.nn.Module):
    """An encoder that takes raw EEG, and a spectrogram beside it for something else."""

    def __init__(self):
        super().__init__()
        self.stft, self.seen = STFTSpectrogram(16, None, (4, 4)), None

    def forward(self, eeg):
        self.seen = eeg
        return self.stft(eeg)


def test_mixup_reaches_an_encoder_of_raw_eeg_beside_a_spectrogram():
    """Labels and graph were mixed, and what such an encoder saw was not."""
    model, eeg = RawBesideGraph(), torch.randn(8, 2, 64)
    mixup = Mixup(InputSpec(window_seconds=1.0, eeg=EEGSpec(("Cz", "Pz"), 64.0)), 0.4)
    torch.manual_seed(0)
    partner, _ = mixup.draw(torch.arange(8))
    model(**mixup.mix({"eeg": eeg}))
    changed = (model.seen - eeg).abs().amax((1, 2)) > 0
    assert torch.equal(changed, partner != torch.arange(8)) and changed.sum() > 4


def test_mixup_pairs_samples_of_the_same_presence():
    spec = InputSpec(window_seconds=1.0, eeg=EEGSpec(("Cz",), 8.0), video=VideoSpec(2, (4, 4)))
    mixup = Mixup(spec, 1.0)
    present = {
        "eeg": torch.tensor([True, True, False, True, False, True, True]),
        "video": torch.tensor([True, False, True, True, True, False, True]),
    }
    kinds = torch.stack(list(present.values()), 1)
    eeg = torch.randn(7, 1, 8) * present["eeg"][:, None, None]
    seen = set()
    for seed in range(20):
        torch.manual_seed(seed)
        partner, _ = mixup.draw(torch.arange(7), present)
        assert torch.equal(kinds[partner], kinds) and sorted(partner.tolist()) == list(range(7))
        mixed = mixup.mix({"eeg": eeg, "present": present, "masks": {"video": torch.eye(7, 2) < 1}})
        assert mixed["present"] is present and not mixed["eeg"][~present["eeg"]].any()
        valid = torch.eye(7, 2) < 1
        assert torch.equal(mixed["masks"]["video"], valid & valid[partner])
        seen.add(tuple(partner.tolist()))
    assert len(seen) > 5


def test_a_batch_says_what_is_there():
    x, mask = torch.ones(2, 4), torch.tensor([True, False])
    batch = collate(
        [
            {"eeg": x, "video": x, "label": 0, "person": "a"},
            {"eeg": x, "video": 0 * x, "label": 1, "person": "b", "present": {"video": False}},
            {"eeg": x, "video": x, "label": 1, "person": "c", "masks": {"video": mask}},
        ]
    )
    assert batch["present"]["video"].tolist() == [True, False, True] and list(batch["present"]) == ["video"]
    assert batch["masks"]["video"].tolist() == [[True, True], [True, True], [True, False]]
    assert "present" not in collate([{"eeg": x, "label": 0}]) and batch["person"] == ["a", "b", "c"]
    inputs = model_inputs(batch, ("eeg", "video"), torch.device("cpu"))
    assert set(inputs) == {"eeg", "video", "present", "masks"}
    assert set(model_inputs(batch, ("eeg",), torch.device("cpu"))) == {"eeg"}
    with pytest.warns(UserWarning, match=r"masks: the model takes none of video, .*padding"):
        assert "masks" not in model_inputs(batch, ("eeg", "video"), torch.device("cpu"), masked=("audio",))
    assert "masks" in model_inputs(batch, ("eeg", "video"), torch.device("cpu"), masked=("video",))
    with pytest.raises(
        DataError, match=r"takes eeg and audio, and the items have no audio.*present=\{\"audio\": False"
    ):
        model_inputs(batch, ("eeg", "audio"), torch.device("cpu"))
    with pytest.raises(DataError, match=r"some have video and some not.*present=\{\"video\": False\}"):
        collate([{"eeg": x, "video": x}, {"eeg": x}])
