import pytest
import torch
from torch.nn import functional as F

from evermodels.core.errors import ConfigError, ShapeError
from evermodels.core.outputs import AlignableOutput, EmotionOutput
from evermodels.functional import inter_modal_contrastive, intra_modal_contrastive, sample_alignment
from evermodels.losses import MERCLLoss, MERCLLossOutput

TARGET = torch.tensor([0, 2, 1, 1, 0])
MASK = torch.tensor([True, False, True, True, True])


def output(names=("eeg", "video", "audio"), alignable=None, classes=3):
    z = {name: torch.randn(5, 4) for name in names}
    logits = torch.randn(5, classes, requires_grad=True)
    return AlignableOutput(logits, None, z, {}, alignable)


def test_terms_by_themselves():
    out = output(alignable=MASK)
    weights = torch.tensor([0.5, 2.0, 0.5])
    loss = MERCLLoss(weights, w_ce=0.7, w_intra=0.5, w_inter=2.0, w_sample=3.0, temperature=0.3, margin=0.5)
    terms = loss(out, TARGET)
    assert isinstance(terms, MERCLLossOutput)
    z = out.embeddings
    torch.testing.assert_close(terms.cross_entropy, F.cross_entropy(out.logits, TARGET, weights))
    want = torch.stack([intra_modal_contrastive(x, TARGET, 0.3) for x in z.values()]).mean()
    torch.testing.assert_close(terms.intra_modal, want)
    torch.testing.assert_close(terms.inter_modal, inter_modal_contrastive(z, TARGET, 0.3))
    torch.testing.assert_close(terms.sample_wise, sample_alignment(z, 0.5, MASK))
    total = 0.7 * terms[1] + 0.5 * terms[2] + 2.0 * terms[3] + 3.0 * terms[4]
    torch.testing.assert_close(terms.total, total)


def test_without_flags_every_sample_is_aligned():
    out = output()
    plain = EmotionOutput(out.logits, embeddings=out.embeddings)
    want = sample_alignment(out.embeddings, 1.0)
    assert MERCLLoss()(out, TARGET).sample_wise == MERCLLoss()(plain, TARGET).sample_wise == want


def test_absent_modalities_drop_out_of_each_term():
    out = output()
    flags = {"audio": torch.tensor([True, True, False, True, False])}  # no pair of a class is left
    terms = MERCLLoss()(out, TARGET, flags)
    z = out.embeddings
    both = torch.stack([intra_modal_contrastive(z[m], TARGET) for m in ("eeg", "video")])
    torch.testing.assert_close(terms.intra_modal, both.mean())
    torch.testing.assert_close(terms.inter_modal, inter_modal_contrastive(z, TARGET, present=flags))
    torch.testing.assert_close(terms.sample_wise, sample_alignment(z, 1.0, present=flags))


def test_the_stages_of_algorithm_1():
    first = MERCLLoss(w_ce=0.0)(output(classes=0), TARGET)  # no classifier yet
    assert first.cross_entropy.item() == 0 and first.total > 0
    second = MERCLLoss(w_intra=0.0, w_inter=0.0, w_sample=0.0)(output(names=()), TARGET)
    assert second.total == second.cross_entropy > 0 and second.inter_modal.item() == 0
    second.total.backward()


def test_one_class_gives_no_nan():
    out = output(names=("eeg",))
    terms = MERCLLoss(w_ce=0.0)(out, torch.zeros(5, dtype=torch.int64))
    assert not torch.stack(list(terms)).any()
    terms.total.backward()


def test_what_does_not_fit_is_refused():
    for values, said in (
        ({"w_inter": -1.0}, "w_inter: expected a finite number of at least 0, got -1.0"),
        (dict.fromkeys(("w_ce", "w_intra", "w_inter", "w_sample"), 0.0), "expected one above 0, all are 0"),
        ({"temperature": -0.1}, "temperature"),
        ({"margin": 2.0}, "margin: expected a cosine in -1..1, got 2.0"),
        ({"positives": "max"}, "positives"),
    ):
        with pytest.raises(ConfigError, match=said):
            MERCLLoss(**values)
    with pytest.raises(ConfigError, match="expected embeddings by modality, got none"):
        MERCLLoss()(output(names=()), TARGET)
    with pytest.raises(ShapeError, match="present"):
        MERCLLoss()(output(), TARGET, {"eeg": MASK[1:]})
