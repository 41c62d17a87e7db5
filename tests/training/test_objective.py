"""One factor of the classes as the objective: hand-computed numbers and the summed probabilities."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F

from evermodels.core.errors import ConfigError, ShapeError
from evermodels.core.factors import Factor
from evermodels.core.outputs import EmotionOutput
from evermodels.losses import EmotionLoss
from evermodels.training.engine import fit
from evermodels.training.objective import FactorLoss, disagreement

TWO = (Factor("state", ("rest", "work"), ("eeg",)), Factor("face", ("neutral", "smiling"), ("video",)))
THREE = (TWO[0], Factor("mood", ("low", "mid", "high"), ("eeg",)), TWO[1])


def of(factors, name):
    return FactorLoss(EmotionLoss(w_ce=1.0, w_focal=0.0), factors, name)


@pytest.mark.parametrize(("name", "pairs"), [("state", [(0, 1), (2, 3)]), ("face", [(0, 2), (1, 3)])])
def test_softmax_is_the_summed_probability(name, pairs):
    logits = torch.randn(7, 4, dtype=torch.float64) * 5
    p = logits.softmax(1)
    want = torch.stack([p[:, a] + p[:, b] for a, b in pairs], 1)
    torch.testing.assert_close(of(TWO, name).logits(logits).softmax(1), want)
    assert torch.autograd.gradcheck(of(TWO, name).logits, logits.requires_grad_())


def test_any_factor_of_any_number_of_classes():
    logits, counts = torch.randn(5, 12, dtype=torch.float64), list(range(1, 13))
    p = logits.softmax(1).view(5, 2, 3, 2)
    for axis, factor in enumerate(THREE):
        others = [a + 1 for a in range(3) if a != axis]
        loss = of(THREE, factor.name)
        torch.testing.assert_close(loss.logits(logits).softmax(1), p.sum(others))
        assert loss.counts(counts) == torch.tensor(counts).view(2, 3, 2).sum([a - 1 for a in others]).tolist()
    labels = torch.arange(12)
    terms = of(THREE, "mood")(EmotionOutput(logits.repeat(3, 1)[:12]), labels)
    want = F.cross_entropy(of(THREE, "mood").logits(logits.repeat(3, 1)[:12]), labels // 2 % 3)
    torch.testing.assert_close(terms.total, want)
    torch.testing.assert_close(of(THREE[1:2], "mood").logits(logits[:, :3]), logits[:, :3])


@pytest.mark.parametrize(("name", "target"), [("state", [0, 0, 1, 1]), ("face", [0, 1, 0, 1])])
def test_loss_is_that_of_two_classes(name, target):
    logits, labels = torch.randn(4, 4), torch.arange(4)
    terms = of(TWO, name)(EmotionOutput(logits), labels)
    torch.testing.assert_close(terms.total, F.cross_entropy(of(TWO, name).logits(logits), torch.tensor(target)))


def test_the_other_factor_gets_no_push():
    """Moving probability between the two classes of a value changes nothing."""
    logits = torch.zeros(1, 4, requires_grad=True)
    FactorLoss(EmotionLoss(), TWO, "face")(EmotionOutput(logits), torch.tensor([3])).total.backward()
    g = logits.grad[0]
    torch.testing.assert_close(g[0], g[2])
    torch.testing.assert_close(g[1], g[3])
    assert g[1] < 0 < g[0]


def test_counts_and_what_is_refused():
    assert of(TWO, "state").counts([5, 1, 2, 7]) == [6, 9]
    assert of(TWO, "face").counts([5, 1, 2, 7]) == [7, 8]
    with pytest.raises(ConfigError, match=r"factor: expected one of state, face, got 'fase'. Did you mean 'face'"):
        of(TWO, "fase")
    with pytest.raises(ConfigError, match=r"none, as the classes are no product of factors"):
        of((), "face")
    with pytest.raises(ShapeError, match="classes=4, got classes=3"):
        of(TWO, "state").logits(torch.zeros(2, 3))


def test_the_engine_learns_one_factor(fake, tmp_path):
    recipe = fake.make_recipe(epochs=6)
    rows = [row.replace(overrides={**row.overrides, "loss": {"factor": "light"}}) for row in recipe.rows]
    recipe = recipe.replace(rows=tuple(rows))
    result = fit(recipe, tmp_path / "video/seed-0", row="video", parts=fake.make_parts(), progress=False)
    assert result["validation"]["valence"] > 0.8


def test_disagreement_is_the_symmetric_divergence():
    p, q = (torch.randn(5, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    a, b = p.softmax(1), q.softmax(1)
    want = ((a * (a / b).log()).sum(1) + (b * (b / a).log()).sum(1)).mean()
    torch.testing.assert_close(disagreement(p, q), want.float(), check_dtype=False)
    assert disagreement(p, p).item() == 0 and disagreement(p, q) == disagreement(q, p)
    with pytest.raises(ShapeError, match="others"):
        disagreement(p, q[:, :3])


class Twice(torch.utils.data.Dataset):
    """A training part whose second readings are negatives, which show the other class."""

    def __init__(self, part):
        self.part = part

    def __getattr__(self, name):
        return getattr(self.part, name)

    def __len__(self):
        return len(self.part)

    def __getitem__(self, i):
        item = self.part[i]
        return {**item, "again": {"video": -item["video"]}}


def _video_row(fake, folder, weight, parts):
    recipe = fake.make_recipe(epochs=6)
    loss = {"factor": "light", "consistency": weight}
    rows = [row.replace(overrides={**row.overrides, "loss": loss}) for row in recipe.rows]
    fit(recipe.replace(rows=tuple(rows)), folder, row="video", parts=parts, progress=False)
    return json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["loss"]


def test_the_engine_brings_the_answers_to_two_readings_together(fake, tmp_path):
    """Who must answer a negative as its picture cannot tell dark from bright."""
    parts = fake.make_parts()
    parts = parts._replace(train=Twice(parts.train))
    free = _video_row(fake, tmp_path / "video/seed-0", 0.0, parts)
    assert "consistency" not in free and free["cross_entropy"] < 0.5
    bound = _video_row(fake, tmp_path / "bound/seed-0", 20.0, parts)
    assert bound["cross_entropy"] > 0.65
    whole = 0.9 * bound["cross_entropy"] + 0.1 * bound["focal"] + 20 * bound["consistency"]
    assert bound["consistency"] > 0 and bound["total"] == pytest.approx(whole, rel=1e-4)


def test_one_reading_alone_cannot_be_consistent(fake, tmp_path):
    with pytest.raises(
        ConfigError, match=r"loss\.consistency: expected 0, as the training items hold no second reading"
    ):
        _video_row(fake, tmp_path / "video/seed-0", 1.0, fake.make_parts())
