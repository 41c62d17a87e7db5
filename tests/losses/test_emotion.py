import pytest
import torch
from torch.nn import functional as F

from evermodels.core.errors import ConfigError, ShapeError
from evermodels.core.outputs import EmotionOutput
from evermodels.functional import coral, correlation_alignment, focal_loss, mmd
from evermodels.losses import EmotionLoss, EmotionLossOutput

TARGET = torch.tensor([0, 2, 1, 1, 0])


def output(**embeddings):
    embeddings = embeddings or {"eeg": torch.randn(5, 4), "video": torch.randn(5, 4)}
    return EmotionOutput(torch.randn(5, 3), embeddings=embeddings)


def test_terms_by_themselves():
    out = output()
    weights = torch.tensor([0.5, 2.0, 0.5])
    terms = EmotionLoss(weights, w_ce=0.7, w_focal=0.3, gamma=1.0)(out, TARGET)
    assert isinstance(terms, EmotionLossOutput) and terms._fields == ("total", "cross_entropy", "focal", "alignment")
    torch.testing.assert_close(terms.cross_entropy, F.cross_entropy(out.logits, TARGET, weights))
    torch.testing.assert_close(terms.focal, focal_loss(out.logits, TARGET, 1.0))
    assert terms.alignment.item() == 0
    torch.testing.assert_close(terms.total, 0.7 * terms.cross_entropy + 0.3 * terms.focal)


@pytest.mark.parametrize(("name", "function"), [("correlation", correlation_alignment), ("coral", coral), ("mmd", mmd)])
def test_alignment(name, function):
    out = output()
    terms = EmotionLoss(alignment=name)(out, TARGET)
    torch.testing.assert_close(terms.alignment, function(out.embeddings["eeg"], out.embeddings["video"]))
    torch.testing.assert_close(terms.total, 0.9 * terms.cross_entropy + 0.1 * terms.focal + 0.5 * terms.alignment)
    other = EmotionLoss(alignment=name, align_weight=0.0)(out, TARGET)
    torch.testing.assert_close(other.total, 0.9 * other.cross_entropy + 0.1 * other.focal)


def test_alignment_of_three_is_the_mean_over_pairs_of_what_is_there():
    z = {name: torch.randn(5, 4) for name in ("eeg", "audio", "eye")}
    flags = {"eye": torch.tensor([True, False, True, True, False])}
    both = z["eye"][flags["eye"]]
    want = [
        coral(z["eeg"], z["audio"]),
        coral(z["eeg"][flags["eye"]], both),
        coral(z["audio"][flags["eye"]], both),
    ]
    terms = EmotionLoss(alignment="coral")(output(**z), TARGET, flags)
    torch.testing.assert_close(terms.alignment, torch.stack(want).mean())
    few = {"eye": torch.tensor([True, False, False, False, False])}
    with pytest.raises(ShapeError):
        EmotionLoss(alignment="coral")(output(**z), TARGET, few)
    small = EmotionLoss(alignment="coral", on_small_batch="zero")(output(**z), TARGET, few)
    torch.testing.assert_close(small.alignment, want[0] / 3)


def test_alignment_sees_only_samples_with_both():
    out = output()
    present = {
        "eeg": torch.tensor([True, False, True, True, True]),
        "video": torch.tensor([True, True, True, False, True]),
    }
    terms = EmotionLoss(alignment="correlation")(out, TARGET, present)
    rows = [0, 2, 4]
    expected = correlation_alignment(out.embeddings["eeg"][rows], out.embeddings["video"][rows])
    torch.testing.assert_close(terms.alignment, expected)
    torch.testing.assert_close(
        terms.cross_entropy, EmotionLoss()(out, TARGET).cross_entropy
    )  # classification sees every sample
    one_side = EmotionLoss(alignment="correlation")(out, TARGET, {"eeg": present["eeg"]})
    rows = [0, 2, 3, 4]
    expected = correlation_alignment(out.embeddings["eeg"][rows], out.embeddings["video"][rows])
    torch.testing.assert_close(one_side.alignment, expected)


def test_too_few_samples_with_both():
    out = output()
    present = {"eeg": torch.tensor([True, False, False, False, False])}
    with pytest.raises(ShapeError, match="a batch of 1 has no spread"):
        EmotionLoss(alignment="correlation")(out, TARGET, present)
    loss = EmotionLoss(alignment="correlation", on_small_batch="zero")
    assert loss(out, TARGET, present).alignment.item() == 0
    none = {"eeg": torch.zeros(5, dtype=torch.bool)}
    assert loss(out, TARGET, none).alignment.item() == 0
    assert loss(EmotionOutput(out.logits, embeddings={"eeg": out.embeddings["eeg"]}), TARGET).alignment.item() == 0


def test_gradient_reaches_logits_and_embeddings():
    eeg, video = torch.randn(5, 4, requires_grad=True), torch.randn(5, 4, requires_grad=True)
    logits = torch.randn(5, 3, requires_grad=True)
    EmotionLoss(alignment="correlation")(
        EmotionOutput(logits, embeddings={"eeg": eeg, "video": video}), TARGET
    ).total.backward()
    assert logits.grad.any() and eeg.grad.any() and video.grad.any()
    values = [x.detach().double().requires_grad_() for x in (logits, eeg, video)]
    loss = EmotionLoss([0.5, 1.0, 1.5], alignment="correlation")
    assert torch.autograd.gradcheck(
        lambda z, e, v: loss(EmotionOutput(z, embeddings={"eeg": e, "video": v}), TARGET).total, values
    )


def test_state_round_trip():
    loss, other = EmotionLoss([1.0, 2.0, 3.0]), EmotionLoss([1.0, 1.0, 1.0])
    other.load_state_dict(loss.state_dict(), strict=True)
    out = output()
    assert other(out, TARGET).total == loss(out, TARGET).total


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"alignment": "coralle"}, "alignment: .* Did you mean 'coral'"),
        ({"w_ce": -1.0}, "w_ce: .* got -1.0"),
        ({"align_weight": float("nan")}, "align_weight: .* got nan"),
        ({"gamma": -2.0}, "gamma"),
        ({"class_weights": [0.0, 0.0]}, "class_weights"),
        ({"class_weights": [1.0, -1.0]}, "class_weights"),
        ({"label_smoothing": -0.1}, "label_smoothing"),
        ({"alignment": "mmd", "on_small_batch": "skip"}, "on_small_batch"),
    ],
)
def test_bad_settings(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        EmotionLoss(**kwargs)


def test_bad_input():
    loss = EmotionLoss(alignment="correlation")
    with pytest.raises(ConfigError, match=r"two modalities, it has \['eeg'\].*alignment='none'"):
        loss(output(eeg=torch.randn(5, 4)), TARGET)
    with pytest.raises(ShapeError, match=r"present\['eeg'\]: .* with batch=5"):
        loss(output(), TARGET, {"eeg": torch.ones(4, dtype=torch.bool)})
    with pytest.raises(ConfigError, match=r"present\['video'\]: expected bool"):
        loss(output(), TARGET, {"video": torch.ones(5)})
    with pytest.raises(ShapeError, match=r"target: .* with batch=5"):
        loss(output(), TARGET[:4])
    with pytest.raises(ShapeError, match="expected 2 classes as the class weights, got 3"):
        EmotionLoss([1.0, 2.0])(output(), TARGET)


def test_compiles():
    loss, out = EmotionLoss([1.0, 2.0, 3.0], alignment="correlation"), output()
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    for ours, eager in zip(compiled(out, TARGET), loss(out, TARGET), strict=True):
        torch.testing.assert_close(ours, eager)
