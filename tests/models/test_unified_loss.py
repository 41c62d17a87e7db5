"""EVER's unified loss (eq. 18) is there for every system."""

from __future__ import annotations

import pytest
import torch

from evermodels.core import registry
from evermodels.core.errors import ConfigError
from evermodels.core.outputs import EmotionOutput
from evermodels.functional import class_balanced_weights
from evermodels.losses import FocalLoss

NAMES = ["single_eeg", "ever_tiny", "tvlt_tiny", "milmer_tiny", "mercl_tiny", "trimodal_tiny", "mood_reader_tiny"]
QUIET = {"mercl_tiny": {"w_intra": 0.0, "w_inter": 0.0, "w_sample": 0.0}}


@pytest.mark.parametrize("name", NAMES)
def test_weighted_cross_entropy_and_focal_loss(name):
    with torch.device("meta"):
        model = registry.build(name, num_classes=2)
    values = {"w_ce": 0.9, "w_focal": 0.1, "gamma": 1.5, "beta": 0.999, **QUIET.get(name, {})}
    loss = model.make_loss([30, 10], **values)
    logits, target = torch.tensor([[1.0, -1.0], [0.5, 0.0], [0.0, 2.0]]), torch.tensor([0, 1, 1])
    terms = loss(EmotionOutput(logits, embeddings={}), target)
    weights = torch.as_tensor(class_balanced_weights(torch.tensor([30, 10]), 0.999))
    entropy = torch.nn.functional.cross_entropy(logits, target, weight=weights.float())
    expected = 0.9 * entropy + 0.1 * FocalLoss(1.5)(logits, target)
    assert terms.total == pytest.approx(float(expected), abs=1e-6)
    with pytest.raises(ConfigError, match="w_focal"):
        model.make_loss(w_focal=-0.1)


def test_the_papers_own_losses_stay_the_defaults():
    for name, focal in (("ever_tiny", 0.1), ("tvlt_tiny", 0.1), ("milmer_tiny", 0.0), ("mercl_tiny", 0.0)):
        assert registry.model_class(name).loss_config_class().w_focal == focal
