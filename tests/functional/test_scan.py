"""selective_scan: reference numbers, a slow loop, gradients, shapes, splits, compile and export."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types

import pytest
import torch
import torch.nn.functional as F

from evermodels.core.errors import ConfigError, MissingExtraError, ShapeError
from evermodels.functional._scan_op import chunk_length, scan_forward
from evermodels.functional.scan import selective_scan

NAMES = ("u", "delta", "A", "B", "C", "D", "z", "delta_bias")


def relative(ours: torch.Tensor, reference: torch.Tensor) -> float:
    return ((ours - reference).abs().max() / reference.abs().max()).item()


def make(batch=2, channels=6, length=37, state=4, form_b="bnl", form_c="bnl", dtype=torch.float64, groups=2):
    """Arguments of the scan, with two chunks and a rest along time."""
    shapes = {
        "dn": (channels, state),
        "bnl": (batch, state, length),
        "bgnl": (batch, groups, state, length),
    }
    generator = torch.Generator().manual_seed(3)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    return {
        "u": draw(batch, channels, length),
        "delta": 0.5 * draw(batch, channels, length),
        "A": -torch.rand(channels, state, generator=generator, dtype=dtype) - 0.1,
        "B": draw(*shapes[form_b]),
        "C": draw(*shapes[form_c]),
        "D": draw(channels),
        "z": draw(batch, channels, length),
        "delta_bias": 0.1 * draw(channels),
    }


def slow_scan(u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False):
    """The recurrence with scalars in Python loops over batch, channel and time."""
    y = torch.zeros_like(u)
    states = torch.zeros(u.shape[0], *A.shape, dtype=u.dtype)

    def at(x, b, d, t):
        if x.dim() == 2:
            return x[d]
        return x[b, :, t] if x.dim() == 3 else x[b, d * x.shape[1] // u.shape[1], :, t]

    for b in range(u.shape[0]):
        for d in range(u.shape[1]):
            h = torch.zeros(A.shape[1], dtype=u.dtype)
            for t in range(u.shape[2]):
                step = delta[b, d, t] + (0 if delta_bias is None else delta_bias[d])
                step = torch.log1p(torch.exp(step)) if delta_softplus else step
                h = torch.exp(step * A[d]) * h + step * at(B, b, d, t) * u[b, d, t]
                value = (at(C, b, d, t) * h).sum() + (0 if D is None else D[d] * u[b, d, t])
                y[b, d, t] = value * (1 if z is None else z[b, d, t] / (1 + torch.exp(-z[b, d, t])))
            states[b, d] = h
    return y, states


def test_three_steps_by_hand():
    # A = -ln 2: the state halves with each step of length 1. h: 1, 0.5 + 2 = 2.5, 1.25 + 3 = 4.25.
    u = torch.tensor([[[1.0, 2.0, 3.0]]])
    y, last = selective_scan(
        u,
        torch.ones(1, 1, 3),
        torch.tensor([[-0.6931471805599453]]),
        torch.ones(1, 1, 3),
        torch.tensor([[[1.0, 1.0, 2.0]]]),
        D=torch.tensor([10.0]),
        return_last_state=True,
    )
    torch.testing.assert_close(y, torch.tensor([[[11.0, 22.5, 38.5]]]))
    torch.testing.assert_close(last, torch.tensor([[[4.25]]]))


@pytest.mark.parametrize(
    ("dtype", "group", "tolerance"), [(torch.float32, "output", 1e-5), (torch.float64, "output64", 1e-12)]
)
def test_reference_numbers(golden, dtype, group, tolerance):
    reference = golden("selective_scan_a")
    given = {name: x.to(dtype) for name, x in reference["input"].items()}
    expected = reference[group]

    def scan(*, softplus=True, **changes):
        return selective_scan(**{**{n: given[n] for n in NAMES}, **changes}, delta_softplus=softplus)

    y, last = selective_scan(*(given[n] for n in NAMES), delta_softplus=True, return_last_state=True)
    cases = {
        "y": y,
        "last_state": last,
        "y_no_gate": scan(z=None),
        "y_no_skip_no_bias": scan(D=None, z=None, delta_bias=None),
        "y_no_softplus": scan(delta=given["delta"].abs(), delta_bias=None, softplus=False),
        "y_grouped": scan(B=given["B_grouped"], C=given["C_grouped"]),
        "y_constant": scan(B=given["B_constant"], C=given["C_constant"]),
    }
    for name, ours in cases.items():
        assert ours.dtype == dtype
        assert relative(ours, expected[name]) < tolerance, name


def test_reference_gradients(golden):
    reference = golden("selective_scan_a")
    given = {n: reference["input"][n].clone().requires_grad_() for n in NAMES}
    (selective_scan(**given, delta_softplus=True) * reference["input"]["cotangent"]).sum().backward()
    for name, tensor in given.items():
        assert relative(tensor.grad, reference["grad"][f"input/{name}"]) < 1e-5, name


@pytest.mark.parametrize("form_b", ["dn", "bnl", "bgnl"])
@pytest.mark.parametrize("form_c", ["dn", "bnl", "bgnl"])
def test_slow_loop(form_b, form_c):
    given = make(form_b=form_b, form_c=form_c)
    y, last = selective_scan(**given, delta_softplus=True, return_last_state=True)
    slow_y, slow_last = slow_scan(**given, delta_softplus=True)
    torch.testing.assert_close(y, slow_y, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(last, slow_last, rtol=1e-10, atol=1e-12)


def test_large_step_sizes_pass_the_softplus_unchanged():
    given = {**make(), "delta": torch.full((2, 6, 37), 30.0, dtype=torch.float64).requires_grad_()}
    selective_scan(**given, delta_softplus=True).sum().backward()
    assert given["delta"].grad.isfinite().all()


@pytest.mark.parametrize(("form_b", "form_c"), [("dn", "dn"), ("bnl", "bnl"), ("bgnl", "bgnl"), ("dn", "bgnl")])
def test_gradcheck(form_b, form_c):
    given = make(batch=2, channels=4, length=18, state=2, form_b=form_b, form_c=form_c)
    inputs = [x.requires_grad_() for x in given.values()]
    assert torch.autograd.gradcheck(
        lambda *x: selective_scan(*x, delta_softplus=True, return_last_state=True), inputs, fast_mode=True
    )


def test_gradcheck_bare():
    given = make(batch=1, channels=2, length=3, state=3)
    inputs = [given[n].requires_grad_() for n in ("u", "delta", "A", "B", "C")]
    assert torch.autograd.gradcheck(selective_scan, inputs)
    _, last = selective_scan(*inputs, return_last_state=True)
    grad = torch.autograd.grad(last.sum(), inputs[0])[0]
    torch.testing.assert_close(grad, torch.autograd.grad(slow_scan(*inputs)[1].sum(), inputs[0])[0])


def test_different_groups_for_B_and_C():
    given = make(groups=2)
    B = torch.randn(2, 2, 4, 37, dtype=torch.float64)
    C = torch.randn(2, 3, 4, 37, dtype=torch.float64)
    y = selective_scan(**{**given, "B": B, "C": C}, delta_softplus=True)
    torch.testing.assert_close(y, slow_scan(**{**given, "B": B, "C": C}, delta_softplus=True)[0])


def test_arguments_are_not_changed():
    given = make(dtype=torch.float32)
    # Memory already in the operator's own layout, where a copy inside could be skipped.
    given = {n: x.mT.contiguous().mT.requires_grad_() if x.dim() == 3 else x.requires_grad_() for n, x in given.items()}
    before = {n: x.detach().clone() for n, x in given.items()}
    selective_scan(**given, delta_softplus=True).sum().backward()
    for name, x in given.items():
        assert torch.equal(x, before[name]), name


def test_last_state_continues_the_sequence():
    given = make(length=40)
    whole = selective_scan(**{**given, "z": None}, delta_softplus=True)

    def part(steps):
        return {n: x[..., steps] if x is not None and x.dim() == 3 else x for n, x in {**given, "z": None}.items()}

    first, state = selective_scan(**part(slice(0, 23)), delta_softplus=True, return_last_state=True)
    later = part(slice(23, None))
    second = selective_scan(**later, delta_softplus=True)
    # What the first part leaves behind decays with the steps since: C_t · exp(A Σ Δ) h.
    elapsed = F.softplus(later["delta"] + given["delta_bias"][:, None]).cumsum(-1)
    decayed = torch.exp(elapsed[..., None, :] * given["A"][..., None]) * state[..., None]
    second = second + torch.einsum("bnl,bdnl->bdl", later["C"], decayed)
    torch.testing.assert_close(torch.cat([first, second], -1), whole)


def test_causal():
    given = make()
    y = selective_scan(**given, delta_softplus=True)
    later = given["u"].clone()
    later[..., 20:] += 1
    changed = selective_scan(**{**given, "u": later}, delta_softplus=True)
    assert torch.equal(y[..., :20], changed[..., :20])
    assert not torch.equal(y[..., 20:], changed[..., 20:])


def test_batch_split_and_channel_permutation():
    given = make(batch=5, dtype=torch.float32)
    y = selective_scan(**given, delta_softplus=True)
    per_sample = ("u", "delta", "B", "C", "z")
    for rows in (slice(0, 2), slice(2, 5)):
        part = {n: x[rows] if n in per_sample else x for n, x in given.items()}
        torch.testing.assert_close(selective_scan(**part, delta_softplus=True), y[rows])
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    permuted = {n: x[:, order] if n in ("u", "delta", "z") else x for n, x in given.items()}
    permuted |= {n: given[n][order] for n in ("A", "D", "delta_bias")}
    torch.testing.assert_close(selective_scan(**permuted, delta_softplus=True), y[:, order])


def test_many_blocks_of_the_batch_agree(monkeypatch):
    given = {n: x.requires_grad_() for n, x in make(batch=5).items()}
    whole = torch.autograd.grad(selective_scan(**given, delta_softplus=True).square().sum(), list(given.values()))
    monkeypatch.setattr("evermodels.functional._scan_op._STEP_ELEMENTS", 2 * 6 * 4)  # two rows at a time
    parts = torch.autograd.grad(selective_scan(**given, delta_softplus=True).square().sum(), list(given.values()))
    for name, a, b in zip(NAMES, whole, parts, strict=True):
        torch.testing.assert_close(a, b, msg=name)


def test_float32_against_float64_on_a_long_sequence():
    given = make(batch=1, channels=8, length=2000, state=16, dtype=torch.float32)
    double = {n: x.double() for n, x in given.items()}
    assert relative(selective_scan(**given, delta_softplus=True), selective_scan(**double, delta_softplus=True)) < 1e-5


def test_saved_for_backward_grows_with_the_input_only():
    channels, length, state, saved = 8, 320, 16, []

    def pack(x):
        saved.append(x)
        return x

    given = {n: x.requires_grad_() for n, x in make(1, channels, length, state, dtype=torch.float32).items()}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        selective_scan(**given, delta_softplus=True)
    given_size = sum(x.numel() for x in given.values())
    assert sum(x.numel() for x in saved) <= given_size + channels * length
    assert chunk_length(state) >= state


@pytest.mark.parametrize("name", NAMES)
def test_one_argument_in_float64_is_enough(name):
    given = make(dtype=torch.float32)
    wide = {n: x.double() for n, x in given.items()}
    y, last = selective_scan(**{**given, name: wide[name]}, delta_softplus=True, return_last_state=True)
    assert (y.dtype, last.dtype) == (torch.float64 if name == "u" else torch.float32, torch.float64)
    torch.testing.assert_close(last, selective_scan(**wide, delta_softplus=True, return_last_state=True)[1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_compute_in_float32(dtype):
    given = {n: x.to(dtype) for n, x in make(dtype=torch.float32).items()}
    y = selective_scan(**given, delta_softplus=True)
    assert y.dtype == dtype
    torch.testing.assert_close(
        y, selective_scan(**{n: x.float() for n, x in given.items()}, delta_softplus=True).to(dtype)
    )


def test_autocast_computes_in_float32():
    given = {n: x.requires_grad_() for n, x in make(dtype=torch.float32).items()}
    plain = selective_scan(**given, delta_softplus=True)
    grads = torch.autograd.grad(plain.sum(), list(given.values()))
    with torch.autocast("cpu", torch.bfloat16):
        y = selective_scan(**given, delta_softplus=True)
        cast = torch.autograd.grad(y.sum(), list(given.values()))
        double = selective_scan(**{n: x.double() for n, x in given.items()}, delta_softplus=True)
    assert torch.equal(y, plain)
    assert double.dtype == torch.float64
    assert all(torch.equal(a, b) for a, b in zip(grads, cast, strict=True))


@pytest.mark.parametrize("groups", [1, 2])
def test_operator_is_registered_as_it_behaves(groups):
    given = make(length=18, dtype=torch.float32, form_b="bgnl", form_c="bgnl", groups=groups)
    torch.library.opcheck(scan_forward, (*(x.requires_grad_() for x in given.values()), True))


def test_operator_with_constant_projections_and_nothing_optional():
    given = make(length=18, dtype=torch.float32, form_b="dn", form_c="dn")
    required = [given[n].requires_grad_() for n in ("u", "delta", "A", "B", "C")]
    torch.library.opcheck(scan_forward, (*required, None, None, None, False))


def test_compile_is_equal():
    given = {n: x.requires_grad_() for n, x in make(dtype=torch.float32).items()}
    compiled = torch.compile(lambda **x: selective_scan(**x, delta_softplus=True), backend="aot_eager", fullgraph=True)
    y, plain = compiled(**given), selective_scan(**given, delta_softplus=True)
    torch.testing.assert_close(y, plain)
    for a, b in zip(*(torch.autograd.grad(x.sum(), list(given.values())) for x in (y, plain)), strict=True):
        torch.testing.assert_close(a, b)


def test_export_sees_one_node():
    class Scan(torch.nn.Module):
        def forward(self, u, delta, A, B, C):
            return selective_scan(u, delta, A, B, C, delta_softplus=True)

    given = make(dtype=torch.float32)
    inputs = tuple(given[n] for n in ("u", "delta", "A", "B", "C"))
    batch = torch.export.Dim("batch", min=2, max=64)
    shapes = {"u": {0: batch}, "delta": {0: batch}, "A": None, "B": {0: batch}, "C": {0: batch}}
    program = torch.export.export(Scan(), inputs, dynamic_shapes=shapes)
    nodes = [n for n in program.graph.nodes if "selective_scan" in str(n.target)]
    assert len(nodes) == 1
    other = tuple(x.repeat(2, 1, 1) if x.dim() == 3 else x for x in inputs)
    torch.testing.assert_close(program.module()(*other), Scan()(*other))


WRONG = [
    ({"u": torch.zeros(2, 6)}, r"u: expected \(batch, channels, length\), got 2 axes of shape \(2, 6\)"),
    ({"u": torch.zeros(2, 6, 0)}, r"u: axis 'length' .* is empty"),
    ({"delta": torch.zeros(2, 6, 36)}, r"delta: .* with length=37, got length=36"),
    ({"A": torch.zeros(5, 4)}, r"A: .* with channels=6, got channels=5"),
    ({"A": torch.zeros(4)}, r"A: expected \(channels, state\), got 1 axes"),
    ({"B": torch.zeros(2, 5, 37)}, r"B: .* with state=4, got state=5"),
    ({"B": torch.zeros(6, 3)}, r"B: expected \(channels, state\) with state=4"),
    ({"C": torch.zeros(2, 4, 4, 37)}, r"C: expected a number of groups that divides the 6 channels"),
    ({"C": torch.zeros(3, 4, 37)}, r"C: .* with batch=2, got batch=3"),
    ({"C": torch.zeros(4)}, r"C: expected \(batch, state, length\), got 1 axes"),
    ({"D": torch.zeros(5)}, r"D: .* with channels=6, got channels=5"),
    ({"delta_bias": torch.zeros(6, 1)}, r"delta_bias: expected \(channels\), got 2 axes"),
    ({"z": torch.zeros(2, 6, 38)}, r"z: .* with length=37, got length=38"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_wrong_shapes(change, message):
    with pytest.raises(ShapeError, match=message):
        selective_scan(**{**make(dtype=torch.float32), **change})


def test_wrong_types_and_backends():
    given = make(dtype=torch.float32)
    with pytest.raises(ConfigError, match=r"A: expected a real floating-point tensor, got torch.complex64"):
        selective_scan(**{**given, "A": given["A"].to(torch.complex64)})
    with pytest.raises(ConfigError, match=r"u: expected a real .* got torch.int64"):
        selective_scan(**{**given, "u": given["u"].long()})
    with pytest.raises(ConfigError, match=r"D: expected to be on u's device cpu, got meta"):
        selective_scan(**{**given, "D": given["D"].to("meta")})
    with pytest.raises(
        ConfigError, match=r"backend: expected one of 'auto', 'torch', 'cuda', got 'cudaa'. Did you mean"
    ):
        selective_scan(**given, backend="cudaa")


def test_cuda_backend_without_mamba_ssm(monkeypatch):
    monkeypatch.setitem(sys.modules, "mamba_ssm.ops.selective_scan_interface", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'evermodels\[cuda\]'"):
        selective_scan(**make(dtype=torch.float32), backend="cuda")


def test_cuda_backend_hands_over_to_mamba_ssm_only_cuda_tensors(monkeypatch):
    stand_in = types.ModuleType("mamba_ssm.ops.selective_scan_interface")
    stand_in.selective_scan_fn = None
    monkeypatch.setitem(sys.modules, "mamba_ssm.ops.selective_scan_interface", stand_in)
    with pytest.raises(ConfigError, match="'cuda' needs CUDA tensors, u is on cpu"):
        selective_scan(**make(dtype=torch.float32), backend="cuda")


@pytest.mark.parametrize("form", ["dn", "bnl", "bgnl"])
def test_mamba_ssm_reference_function(monkeypatch, form):
    if importlib.util.find_spec("mamba_ssm") is None:
        pytest.skip("mamba-ssm is not installed; the reference numbers stand for it")
    if importlib.util.find_spec("selective_scan_cuda") is None:
        monkeypatch.setitem(sys.modules, "selective_scan_cuda", types.ModuleType("selective_scan_cuda"))
    interface = importlib.import_module("mamba_ssm.ops.selective_scan_interface")
    given = make(dtype=torch.float32, form_b=form, form_c=form)
    y, last = selective_scan(**given, delta_softplus=True, return_last_state=True)
    reference, state = interface.selective_scan_ref(**given, delta_softplus=True, return_last_state=True)
    assert relative(y, reference) < 1e-5
    assert relative(last, state) < 1e-5
