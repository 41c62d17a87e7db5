"""From one montage to another: exact copies, interpolation by hand, invariances, refusals, casts, compile, export."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evermodels import montage
from evermodels.core.errors import ConfigError, EvermodelsError, ShapeError, SignalError, UnknownNameError
from evermodels.layers import MontageAdapter

EEGMAT, EPOC = montage.preset("eegmat"), montage.preset("epoc")


def signal(channels: int, batch: int = 3, time: int = 50, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return 20 * torch.randn(batch, channels, time, dtype=dtype)


def test_another_order_is_an_exact_permutation():
    order = torch.randperm(19)
    adapter = MontageAdapter([f"EEG {EEGMAT[i]}" for i in order], EEGMAT)
    eeg = signal(19)
    assert torch.equal(adapter(eeg[:, order]), eeg)
    assert adapter.interpolated == {}
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        assert torch.equal(adapter(eeg[:, order].to(dtype)), eeg.to(dtype))


def test_a_part_of_the_channels_is_an_exact_choice():
    adapter = MontageAdapter([*EEGMAT, "A2-A1"], ["T3", "Cz", "A2-A1"])
    eeg = signal(20)
    assert torch.equal(adapter(eeg), eeg[:, [EEGMAT.index("T7"), EEGMAT.index("Cz"), 19]])


@pytest.mark.parametrize("name", montage.MONTAGES)
def test_every_preset_to_eegmat_by_hand(name):
    have = montage.preset(name)
    adapter = MontageAdapter(have, EEGMAT, min_real=0.0)
    eeg = signal(len(have))
    adapted = adapter(eeg)
    matrix = montage.interpolation_matrix(have, EEGMAT)
    for row, channel in enumerate(EEGMAT):
        if channel in have:
            assert torch.equal(adapted[:, row], eeg[:, have.index(channel)])
            assert channel not in adapter.interpolated
        else:
            by_hand = sum(w * eeg[:, i].double() for i, w in enumerate(matrix[row]))
            torch.testing.assert_close(adapted[:, row].double(), by_hand, rtol=1e-5, atol=1e-4)
            heaviest = have[int(np.abs(matrix[row]).argmax())]
            assert adapter.interpolated[channel].startswith(f"from {heaviest} {np.abs(matrix[row]).max():+.2f}")


def test_text_of_the_sources():
    assert MontageAdapter(["Cz", "Pz", "A1"], ["Cz", "CPz"]).interpolated == {"CPz": "from Pz +0.52, Cz +0.48"}
    assert MontageAdapter(EPOC, EEGMAT).interpolated["Cz"].endswith(" and 10 more")


def test_batches_channels_and_references():
    adapter, eeg = MontageAdapter(EPOC, EEGMAT), signal(14, batch=5)
    adapted = adapter(eeg)
    torch.testing.assert_close(adapter(eeg[1:2]), adapted[1:2])
    torch.testing.assert_close(adapter(eeg[..., 10:20]), adapted[..., 10:20])
    order = torch.randperm(14)
    shuffled = MontageAdapter([EPOC[i] for i in order], EEGMAT)
    torch.testing.assert_close(shuffled(eeg[:, order]), adapted, rtol=1e-4, atol=1e-3)
    there = torch.randperm(19)
    assert torch.equal(MontageAdapter(EPOC, [EEGMAT[i] for i in there])(eeg), adapted[:, there])
    reference = signal(1, batch=5)
    torch.testing.assert_close(adapter(eeg + reference), adapted + reference, rtol=1e-4, atol=1e-3)


def test_gradients():
    adapter = MontageAdapter(EPOC[:4], ["AF3", "Fz", "F7"]).double()
    assert torch.autograd.gradcheck(adapter, signal(4, 2, 3, torch.float64).requires_grad_())
    assert not list(adapter.parameters())


def test_half_of_the_channels_must_be_real():
    assert len(MontageAdapter(["Fz", "Cz", "Oz"], ["Fz", "Cz", "Pz", "POz"]).interpolated) == 2  # exactly half
    with pytest.raises(ConfigError, match=r"only 1 of the 3 channels Fz, Pz, POz are among the recording's Fz, Cz, Oz"):
        MontageAdapter(["Fz", "Cz", "Oz"], ["Fz", "Pz", "POz"])
    with pytest.raises(ConfigError, match=r"from_pretrained\(name\)\.adapt_montage\(ch_names, min_real=0\.0\)"):
        MontageAdapter(montage.preset("muse"), EEGMAT)
    assert len(MontageAdapter(montage.preset("muse"), EEGMAT, min_real=0.0).interpolated) == 19
    with pytest.raises(ConfigError, match="only 10 of the 19"):
        MontageAdapter(EPOC, EEGMAT, min_real=0.6)


@pytest.mark.parametrize(
    ("src", "dst", "options", "error", "message"),
    [
        (EEGMAT, (*EEGMAT, "A2-A1"), {}, ConfigError, "A2-A1 lies off the scalp and cannot be interpolated"),
        (("A1", "A2"), ("Cz",), {"min_real": 0.0}, ConfigError, "at least one electrode on the scalp"),
        ((), ("Cz",), {"min_real": 0.0}, ConfigError, "got none"),
        (("Cz",), (), {}, ConfigError, "dst_ch_names: expected at least one channel"),
        (("Cz", "ECG"), ("Cz",), {}, UnknownNameError, "'ECG' is not a name .* leave it out if it is not EEG"),
        (("T3", "T7"), ("T7",), {}, UnknownNameError, "'T3' and 'T7' are both the electrode T7"),
        ("Cz", ("Cz",), {}, UnknownNameError, "Names of channels are a list"),
        (("Cz",), ("Cz",), {"min_real": 1.5}, ConfigError, "min_real: expected a part of the channels"),
    ],
)
def test_impossible_montages(src, dst, options, error, message):
    with pytest.raises(error, match=message):
        MontageAdapter(src, dst, **options)


@pytest.mark.parametrize(
    ("eeg", "error", "message"),
    [
        (torch.zeros(2, 13, 5), ShapeError, "channels=14, got channels=13"),
        (torch.zeros(14, 5), ShapeError, r"expected \(batch, channels, time\), got 2 axes"),
        (torch.zeros(0, 14, 5), ShapeError, "empty"),
        (torch.zeros(2, 14, 5, dtype=torch.int16), SignalError, "real floating type, got torch.int16"),
    ],
)
def test_wrong_input(eeg, error, message):
    with pytest.raises(error, match=message) as caught:
        MontageAdapter(EPOC, EEGMAT)(eeg)
    assert isinstance(caught.value, EvermodelsError)


def test_weights_are_not_saved_and_come_back_on_meta():
    with torch.device("meta"):
        empty = MontageAdapter(EPOC, EEGMAT)
    assert empty.weights.is_meta and empty.order.is_meta and empty.state_dict() == {}
    assert empty(torch.zeros(2, 14, 5, device="meta")).shape == (2, 19, 5)
    empty.load_state_dict({})
    empty.reset_buffers()
    eeg = signal(14)
    assert torch.equal(empty(eeg), MontageAdapter(EPOC, EEGMAT)(eeg))


def test_no_cast_rounds_the_weights():
    adapter, eeg = MontageAdapter(EPOC, EEGMAT), signal(14)
    want = adapter(eeg.half())
    assert adapter.half().weights.dtype == torch.float32
    assert torch.equal(adapter(eeg.half()), want) and want.dtype == torch.float16
    exact = MontageAdapter(EPOC, EEGMAT).double()
    np.testing.assert_array_equal(exact.weights.numpy(), exact._matrix)
    adapter.float()
    with torch.autocast("cpu", torch.bfloat16):
        got = adapter(eeg)
    assert torch.equal(got, adapter(eeg)) and got.dtype == torch.float32


def test_compile_and_export():
    adapter, eeg = MontageAdapter(EPOC, EEGMAT), signal(14)
    compiled = torch.compile(adapter, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(eeg), adapter(eeg))
    sizes = {0: torch.export.Dim("batch", min=2, max=16), 2: torch.export.Dim("time", min=2, max=4096)}
    program = torch.export.export(adapter, (eeg,), dynamic_shapes=(sizes,))
    other = signal(14, batch=5, time=80)
    torch.testing.assert_close(program.module()(other), adapter(other))
