import math

import pytest
import torch

from evermodels.core.errors import ConfigError, ShapeError
from evermodels.functional import inter_modal_contrastive, intra_modal_contrastive, sample_alignment

NAMES = ("eeg", "video", "audio")
SETTINGS = [(0.07, "sum"), (0.07, "mean"), (1.0, "sum"), (0.002, "sum"), (0.002, "mean")]


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def log_sum(exponents):
    top = max(exponents)
    return top + math.log(sum(math.exp(e - top) for e in exponents))


def slow_anchor(anchor, contrasts, temperature, positives):
    """One anchor over pairs (vector, is positive); None without a positive."""
    every = [cosine(anchor, x) / temperature for x, _ in contrasts]
    own = [e for e, (_, same) in zip(every, contrasts, strict=True) if same]
    if not own:
        return None
    return log_sum(every) - (log_sum(own) if positives == "sum" else sum(own) / len(own))


def slow_intra(z, labels, temperature, positives="sum", here=None):
    n = [i for i in range(len(z)) if here is None or here[i]]
    terms = []
    for i in n:
        contrasts = [(z[j], labels[j] == labels[i]) for j in n if j != i]
        terms.append(slow_anchor(z[i], contrasts, temperature, positives))
    terms = [t for t in terms if t is not None]
    return sum(terms) / len(terms) if terms else 0.0


def slow_inter(z, labels, temperature, positives="sum", here=None):
    here = here or {m: [True] * len(labels) for m in z}
    means = []
    for m in z:
        terms = []
        for i in range(len(labels)):
            contrasts = [
                (z[n][j], labels[j] == labels[i]) for n in z if n != m for j in range(len(labels)) if here[n][j]
            ]
            if here[m][i]:
                terms.append(slow_anchor(z[m][i], contrasts, temperature, positives))
        terms = [t for t in terms if t is not None]
        means += [sum(terms) / len(terms)] if terms else []
    return sum(means) / len(means) if means else 0.0


def slow_alignment(z, margin, mask=None, here=None):
    count = len(next(iter(z.values())))
    here = here or {m: [True] * count for m in z}
    means = []
    for m in z:
        terms = []
        for i in range(count):
            others = [n for n in z if n != m and here[n][i] and here[m][i] and (mask is None or mask[i])]
            if others:
                terms.append(sum((cosine(z[m][i], z[n][i]) - margin) ** 2 for n in others) / len(others))
        means += [sum(terms) / len(terms)] if terms else []
    return sum(means) / len(means) if means else 0.0


def some(batch=7, dim=5, names=NAMES):
    return {name: torch.randn(batch, dim, dtype=torch.float64) for name in names}


def lists(z):
    return {name: x.tolist() for name, x in z.items()}


LABELS = torch.tensor([0, 1, 0, 2, 1, 0, 3])
FLAGS = {
    "eeg": torch.tensor([1, 1, 1, 1, 0, 1, 1]).bool(),
    "video": torch.tensor([1, 0, 1, 0, 1, 1, 0]).bool(),
    "audio": torch.tensor([0, 0, 1, 1, 1, 0, 0]).bool(),
}


def close(got, want):
    assert got.dtype == torch.float64 and got.shape == ()
    assert got.item() == pytest.approx(want, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize(("temperature", "positives"), SETTINGS)
def test_slow_loops_over_the_equations(temperature, positives):
    z, labels = some(), LABELS.tolist()
    there = {m: f.tolist() for m, f in FLAGS.items()}
    settings = {"temperature": temperature, "positives": positives}
    for m, x in z.items():
        close(intra_modal_contrastive(x, LABELS, **settings), slow_intra(x.tolist(), labels, **settings))
        got = intra_modal_contrastive(x, LABELS, present=FLAGS[m], **settings)
        close(got, slow_intra(x.tolist(), labels, here=there[m], **settings))
    close(inter_modal_contrastive(z, LABELS, **settings), slow_inter(lists(z), labels, **settings))
    got = inter_modal_contrastive(z, LABELS, present=FLAGS, **settings)
    close(got, slow_inter(lists(z), labels, here=there, **settings))


def test_slow_loop_over_samples():
    z, there = some(), {m: f.tolist() for m, f in FLAGS.items()}
    mask = torch.tensor([1, 1, 0, 1, 1, 0, 1]).bool()
    for margin in (1.0, 0.25):
        close(sample_alignment(z, margin), slow_alignment(lists(z), margin))
        close(sample_alignment(z, margin, mask), slow_alignment(lists(z), margin, mask.tolist()))
        got = sample_alignment(z, margin, mask, present=FLAGS)
        close(got, slow_alignment(lists(z), margin, mask.tolist(), there))


def test_gradients():
    z = [x.requires_grad_() for x in some(5, 3).values()]
    labels, flags = LABELS[:5], {m: f[:5] for m, f in FLAGS.items()}

    def whole(*parts):
        given = dict(zip(NAMES, parts, strict=True))
        return (
            intra_modal_contrastive(parts[0], labels, 0.5, present=flags["eeg"])
            + intra_modal_contrastive(parts[1], labels, 0.002, positives="mean")
            + inter_modal_contrastive(given, labels, 0.5, present=flags)
            + sample_alignment(given, 0.5, present=flags)
        )

    assert torch.autograd.gradcheck(whole, z)


def test_reference_numbers(golden):
    numbers = golden("supcon_a")
    features, labels = numbers["input"]["features"].double(), numbers["input"]["labels"]
    # The stored vectors are of length 1 in float32 only, and the reference takes them as they are.
    both, twice = torch.cat(features.unbind(1)), labels.repeat(2)
    want, factor = numbers["output64"], 0.1 / 0.07  # theirs is multiplied by temperature / base temperature
    mean = {"temperature": 0.1, "positives": "mean"}
    features.requires_grad_()
    loss = factor * intra_modal_contrastive(torch.cat(features.unbind(1)), twice, **mean)
    torch.testing.assert_close(loss, want["loss"], rtol=1e-6, atol=0)
    loss.backward()
    # Theirs is with respect to vectors that are of length 1 already; ours leaves the part along them out.
    theirs, unit = numbers["grad"]["input/features"].double(), features.detach()
    theirs = theirs / numbers["input"]["cotangent"].double()
    across = theirs - (theirs * unit).sum(-1, keepdim=True) * unit
    torch.testing.assert_close(features.grad, across, rtol=1e-4, atol=1e-6)
    pairs = torch.arange(6).repeat(2)  # one positive each, where both readings are one
    for positives in ("mean", "sum"):
        got = factor * intra_modal_contrastive(both, pairs, 0.1, positives=positives)
        torch.testing.assert_close(got, want["loss_unsupervised"], rtol=1e-6, atol=0)
    first = factor * intra_modal_contrastive(both[:6], labels, **mean)
    counted = (torch.bincount(labels)[labels] > 1).double().mean()  # theirs counts anchors without a positive as 0
    torch.testing.assert_close(first * counted, want["loss_single_view"], rtol=1e-6, atol=0)


def terms(z, labels, flags=None, mask=None, **settings):
    intra = [intra_modal_contrastive(x, labels, present=flags and flags[m], **settings) for m, x in z.items()]
    return [
        *intra,
        inter_modal_contrastive(z, labels, present=flags, **settings),
        sample_alignment(z, 1.0, mask, present=flags),
    ]


@pytest.mark.parametrize("temperature", [0.07, 0.002])
def test_nothing_to_compare_is_zero_with_a_gradient(temperature):
    z = {m: x.float().requires_grad_() for m, x in some().items()}
    one_class, none = torch.zeros(7, dtype=torch.int64), torch.zeros(7, dtype=torch.bool)
    cases = [
        *terms(z, one_class, temperature=temperature)[:-1],
        intra_modal_contrastive(z["eeg"], torch.arange(7), temperature),  # no pair of a class
        intra_modal_contrastive(z["eeg"][:1], one_class[:1], temperature),
        inter_modal_contrastive({"eeg": z["eeg"]}, LABELS, temperature),
        sample_alignment({"eeg": z["eeg"]}),
        sample_alignment(z, 1.0, none),
        *terms(z, LABELS, dict.fromkeys(z, none), temperature=temperature),
        *terms(z, LABELS, {"eeg": ~none, "video": none, "audio": none}, temperature=temperature)[1:],
    ]
    for loss in cases:
        assert loss.item() == 0
        for x in z.values():
            x.grad = None
        loss.backward()
        assert all(x.grad is None or not x.grad.any() for x in z.values())
        assert any(x.grad is not None for x in z.values())


def test_what_is_absent_reaches_no_value_and_no_gradient():
    found = []
    for filling in (0.0, float("nan")):
        torch.manual_seed(1)
        z = {m: torch.where(FLAGS[m][:, None], x, filling).requires_grad_() for m, x in some().items()}
        losses = terms(z, LABELS, FLAGS, temperature=0.07)
        sum(losses).backward()
        assert all(torch.isfinite(x.grad).all() and not x.grad[~FLAGS[m]].any() for m, x in z.items())
        found.append((*losses, *(x.grad for x in z.values())))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_order_names_and_length_of_vectors_do_not_matter():
    z, order = some(), torch.randperm(7)
    want = terms(z, LABELS, FLAGS, temperature=0.1)
    turned = {m: (3 + torch.rand(7, 1, dtype=torch.float64)) * x for m, x in reversed(z.items())}
    turned = {m: x[order] for m, x in turned.items()}
    flags = {m: f[order] for m, f in FLAGS.items()}
    got = terms(turned, 5 - 3 * LABELS[order], flags, temperature=0.1)
    torch.testing.assert_close(torch.stack([*got[2::-1], *got[3:]]), torch.stack(want))


def test_vectors_of_zero_and_half_precision():
    z = {m: x.float() for m, x in some().items()}
    z["eeg"][0] = 0
    z["eeg"].requires_grad_()
    sum(terms(z, LABELS, temperature=0.07)).backward()
    assert torch.isfinite(z["eeg"].grad).all() and not z["eeg"].grad[0].any()
    half = {m: x.detach().bfloat16() for m, x in z.items()}
    with torch.autocast("cpu", torch.bfloat16):
        low = terms(half, LABELS, temperature=0.07)
    assert all(x.dtype == torch.float32 for x in low)
    torch.testing.assert_close(torch.stack(low), torch.stack(terms({m: x.float() for m, x in half.items()}, LABELS)))


def test_what_does_not_fit_is_refused():
    z = some()
    for wrong in (LABELS.float(), LABELS.int()):
        with pytest.raises(ConfigError, match="labels: expected class indices of int64"):
            intra_modal_contrastive(z["eeg"], wrong)
    for call in (
        lambda: intra_modal_contrastive(z["eeg"][0], LABELS),
        lambda: intra_modal_contrastive(z["eeg"], LABELS[:-1]),
        lambda: inter_modal_contrastive({"eeg": z["eeg"], "video": z["video"][:, 1:]}, LABELS),
        lambda: inter_modal_contrastive({"eeg": z["eeg"], "video": z["video"][1:]}, LABELS),
        lambda: sample_alignment(z, mask=torch.ones(6, dtype=torch.bool)),
    ):
        with pytest.raises(ShapeError):
            call()
    for call, said in (
        (lambda: intra_modal_contrastive(z["eeg"], LABELS, 0.0), "temperature: expected a positive number, got 0.0"),
        (lambda: inter_modal_contrastive(z, LABELS, positives="all"), "positives: expected 'sum' or 'mean', got 'all'"),
        (lambda: sample_alignment(z, 1.5), "margin: expected a cosine in -1..1, got 1.5"),
        (lambda: sample_alignment(z, 1.0, torch.ones(7)), "mask: expected bool, got torch.float32"),
        (lambda: sample_alignment({}), "z: expected embeddings by modality, got none"),
        (lambda: sample_alignment(z, present={"eye": LABELS > 0}), "present: expected some of eeg, video, audio"),
    ):
        with pytest.raises(ConfigError, match=said):
            call()
