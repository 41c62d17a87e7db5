"""One half of the quadrant classes as the objective: hand-computed numbers and the summed probabilities."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F

from evermodels.core.errors import ConfigError, ShapeError
from evermodels.core.outputs import EmotionOutput
from evermodels.losses import EmotionLoss
from evermodels.training.engine import fit
from evermodels.training.objective import HalfLoss, disagreement, half_counts, half_logits


@pytest.mark.parametrize(("half", "pairs"), [("arousal", [(0, 1), (2, 3)]), ("valence", [(0, 2), (1, 3)])])
def test_softmax_is_the_summed_probability(half, pairs):
    logits = torch.randn(7, 4, dtype=torch.float64) * 5
    p = logits.softmax(1)
    want = torch.stack([p[:, a] + p[:, b] for a, b in pairs], 1)
    torch.testing.assert_close(half_logits(logits, half).softmax(1), want)
    assert torch.autograd.gradcheck(lambda x: half_logits(x, half), logits.requires_grad_())


@pytest.mark.parametrize(("half", "target"), [("arousal", [0, 0, 1, 1]), ("valence", [0, 1, 0, 1])])
def test_loss_is_that_of_two_classes(half, target):
    logits, labels = torch.randn(4, 4), torch.arange(4)
    terms = HalfLoss(EmotionLoss(w_ce=1.0, w_focal=0.0), half)(EmotionOutput(logits), labels)
    torch.testing.assert_close(terms.total, F.cross_entropy(half_logits(logits, half), torch.tensor(target)))


def test_the_other_half_gets_no_push():
    """Moving probability between the two classes of a half changes nothing."""
    logits = torch.zeros(1, 4, requires_grad=True)
    HalfLoss(EmotionLoss(), "valence")(EmotionOutput(logits), torch.tensor([3])).total.backward()
    g = logits.grad[0]
    torch.testing.assert_close(g[0], g[2])
    torch.testing.assert_close(g[1], g[3])
    assert g[1] < 0 < g[0]


def test_counts():
    assert half_counts([5, 1, 2, 7], "arousal") == [6, 9]
    assert half_counts([5, 1, 2, 7], "valence") == [7, 8]
    with pytest.raises(ConfigError, match=r"loss\.half: 'valence' needs the four quadrant classes, got 3"):
        half_counts([1, 2, 3], "valence")
    with pytest.raises(ShapeError, match="classes=4, got classes=3"):
        half_logits(torch.zeros(2, 3), "arousal")


def test_the_engine_learns_one_half(fake, tmp_path):
    recipe = fake.make_recipe(epochs=6)
    rows = [row.replace(overrides={**row.overrides, "loss": {"half": "valence"}}) for row in recipe.rows]
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
        return {**item, "video_again": -item["video"]}


def _video_row(fake, folder, weight, parts):
    recipe = fake.make_recipe(epochs=6)
    loss = {"half": "valence", "consistency": weight}
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
    with pytest.raises(ConfigError, match=r"loss\.consistency: expected 0, as the training items hold no video_again"):
        _video_row(fake, tmp_path / "video/seed-0", 1.0, fake.make_parts())
