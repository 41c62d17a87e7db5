"""The output is a pytree, and survives compile and export."""

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

from evermodels.core.outputs import EmotionOutput


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        return EmotionOutput(self.head(x), x, {"eeg": x + 1}, {"channels": x.softmax(-1)})


def test_probabilities():
    logits = torch.tensor([[0.0, torch.tensor(3.0).log()]])
    assert torch.allclose(EmotionOutput(logits).probabilities, torch.tensor([[0.25, 0.75]]))


def test_what_a_notebook_shows_is_short():
    assert repr(Net()(torch.randn(2, 3))) == "<EmotionOutput: logits (2, 2) of eeg, attention 'channels'>"


def test_pytree():
    output = Net()(torch.randn(2, 3))
    leaves, spec = pytree.tree_flatten(output)
    assert len(leaves) == 4
    again = pytree.tree_unflatten(leaves, spec)
    assert isinstance(again, EmotionOutput)
    assert torch.equal(again.attention["channels"], output.attention["channels"])
    half = pytree.tree_map(lambda t: t[:1], output)
    assert half.logits.shape == (1, 2) and half.embedding.shape == (1, 3) and half.embeddings["eeg"].shape == (1, 3)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compile(backend):
    net, x = Net(), torch.randn(2, 3)
    expected, got = net(x), torch.compile(net, backend=backend, fullgraph=True)(x)
    assert isinstance(got, EmotionOutput)
    assert torch.allclose(got.logits, expected.logits)
    assert torch.equal(got.embeddings["eeg"], expected.embeddings["eeg"])


def test_export(tmp_path):
    net, x = Net(), torch.randn(2, 3)
    program = torch.export.export(net, (x,))
    got = program.module()(x)
    assert isinstance(got, EmotionOutput)
    assert torch.allclose(got.logits, net(x).logits)
    torch.export.save(program, tmp_path / "net.pt2")
    again = torch.export.load(tmp_path / "net.pt2").module()(x)
    assert isinstance(again, EmotionOutput)
    assert torch.allclose(again.attention["channels"], net(x).attention["channels"])


def test_defaults_are_not_shared():
    first, second = EmotionOutput(torch.zeros(1, 2)), EmotionOutput(torch.zeros(1, 2))
    first.embeddings["eeg"] = torch.zeros(1)
    assert second.embeddings == {}
