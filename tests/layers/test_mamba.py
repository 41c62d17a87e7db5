"""MambaBlock: by hand with a slow loop, both directions, shapes, precision, state dict, compile."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from evermodels.core.errors import ConfigError, ShapeError
from evermodels.layers.mamba import DIRECTIONS, MambaBlock

KEYS = {"fo_fo": ["in_proj.weight", "conv1d.weight", "conv1d.bias", "x_proj.weight", "dt_proj.weight", "dt_proj.bias"]}
KEYS["fo_fo"] += ["A_log", "D", "out_proj.weight"]
KEYS["fo_bi"] = [*KEYS["fo_fo"], "A_b_log"]
KEYS["bi_bi"] = [*KEYS["fo_bi"], "D_b", "conv1d_b.weight", "conv1d_b.bias", "x_proj_b.weight"]
KEYS["bi_bi"] += ["dt_proj_b.weight", "dt_proj_b.bias"]


def block(direction="fo_bi", dim=8, dtype=torch.float64, **options):
    module = MambaBlock(dim, direction=direction, state_size=3, **options).to(dtype)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return module


def slow_branch(module, x, z, suffix="", matrix=None):
    """One direction for a single sequence ``(length, inner)``: the convolution written out, then step by step."""
    get = dict(module.named_parameters()).__getitem__
    weight, bias = get(f"conv1d{suffix}.weight").squeeze(1), get(f"conv1d{suffix}.bias")
    taps = weight.shape[1]
    convolved = []
    for t in range(len(x)):
        total = bias
        for k in range(taps):
            if t - (taps - 1) + k >= 0:
                total = total + weight[:, k] * x[t - (taps - 1) + k]
        convolved.append(total * torch.sigmoid(total))
    return slow_recurrence(module, torch.stack(convolved), z, suffix, matrix)


def slow_recurrence(module, x, z, suffix="", matrix=None, order=None):
    get = dict(module.named_parameters()).__getitem__
    A = -torch.exp(get(matrix or ("A_b_log" if suffix else "A_log")))
    state, outputs = torch.zeros_like(A), {}
    for t in order or range(len(x)):
        projected = get(f"x_proj{suffix}.weight") @ x[t]
        low, B, C = projected.split([module.dt_rank, module.state_size, module.state_size])
        step = torch.log1p(torch.exp(get(f"dt_proj{suffix}.weight") @ low + get(f"dt_proj{suffix}.bias")))
        state = torch.exp(step[:, None] * A) * state + (step * x[t])[:, None] * B
        outputs[t] = (state @ C + get(f"D{suffix}") * x[t]) * F.silu(z[t])
    return torch.stack([outputs[t] for t in range(len(x))])


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("halve_sum", [True, False])
def test_slow_loop(direction, halve_sum):
    module = block(direction, halve_sum=halve_sum)
    x = torch.randn(2, 7, 8, dtype=torch.float64)
    for sequence, ours in zip(x, module(x), strict=True):
        inner, z = (sequence @ module.in_proj.weight.T).chunk(2, dim=-1)
        y = slow_branch(module, inner, z)
        if direction == "fo_bi":  # the convolution runs forward once, the recurrence backward in time
            convolved = F.conv1d(inner.T, module.conv1d.weight, module.conv1d.bias, padding=3, groups=16)[:, :7].T
            y = y + slow_recurrence(module, F.silu(convolved), z, matrix="A_b_log", order=list(reversed(range(7))))
        if direction == "bi_bi":
            y = y + slow_branch(module, inner.flip(0), z.flip(0), "_b").flip(0)
            y = y / 2 if halve_sum else y
        torch.testing.assert_close(ours, y @ module.out_proj.weight.T)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_state_dict_keys_and_round_trip(direction):
    module = block(direction)
    assert sorted(module.state_dict()) == sorted(KEYS[direction])
    twin = MambaBlock(8, direction=direction, state_size=3).double()
    twin.load_state_dict(module.state_dict())
    x = torch.randn(1, 5, 8, dtype=torch.float64)
    assert torch.equal(twin(x), module(x))


def test_only_fo_fo_is_causal():
    x = torch.randn(1, 9, 8, dtype=torch.float64)
    changed = x.clone()
    changed[:, 6:] += 1
    for direction in DIRECTIONS:
        module = block(direction)
        same = torch.equal(module(x)[:, :6], module(changed)[:, :6])
        assert same == (direction == "fo_fo")


def test_bi_bi_with_equal_branches_commutes_with_time_reversal():
    module = block("bi_bi")
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "_b" in name:
                parameter.copy_(
                    module.get_parameter(name.replace("_b_log", "_log").replace("_b.", ".").replace("D_b", "D"))
                )
    x = torch.randn(2, 6, 8, dtype=torch.float64)
    torch.testing.assert_close(module(x.flip(1)), module(x).flip(1))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_gradcheck(direction):
    module = block(direction, dim=4)
    x = torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True)
    names = [n for n, _ in module.named_parameters()]

    def run(x, *parameters):
        return torch.func.functional_call(module, dict(zip(names, parameters, strict=True)), (x,))

    parameters = [p.detach().requires_grad_() for p in module.parameters()]
    assert torch.autograd.gradcheck(run, (x, *parameters), fast_mode=True)


def test_initial_values_are_the_reference_s():
    module = MambaBlock(64, direction="bi_bi", dt_min=0.001, dt_max=0.1)
    for suffix in ("", "_b"):
        steps = F.softplus(getattr(module, f"dt_proj{suffix}").bias)
        assert 0.001 * 0.999 <= steps.min() and steps.max() <= 0.1 * 1.001
        torch.testing.assert_close(
            getattr(module, f"A{suffix}_log").exp(), torch.arange(1.0, 17.0).expand(128, 16), rtol=1e-5, atol=0
        )
        assert getattr(module, f"D{suffix}").eq(1).all()
        assert getattr(module, f"dt_proj{suffix}").weight.abs().max() <= module.dt_rank**-0.5
    assert module.dt_rank == 4


def test_batch_split():
    module = block(dtype=torch.float32)
    x = torch.randn(5, 6, 8)
    torch.testing.assert_close(module(x), torch.cat([module(x[:2]), module(x[2:])]))


def test_autocast_stays_close_and_gives_the_autocast_type():
    module = block(dtype=torch.float32)
    x = torch.randn(2, 6, 8)
    with torch.autocast("cpu", torch.bfloat16):
        y = module(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), module(x), rtol=0.1, atol=0.1 * module(x).abs().max().item())


def test_bfloat16_module():
    module = block(dtype=torch.float32).bfloat16()
    assert module(torch.randn(2, 6, 8).bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("direction", ["fo_bi", "bi_bi"])
def test_compile_is_equal(direction):
    module = block(direction, dtype=torch.float32)
    x = torch.randn(2, 6, 8)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), module(x))
    (ours,) = torch.autograd.grad(compiled(x).sum(), module.A_b_log)
    torch.testing.assert_close(ours, torch.autograd.grad(module(x).sum(), module.A_b_log)[0])


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((6, 8), r"x: expected \(batch, n, dim\), got 2 axes of shape \(6, 8\).*unsqueeze"),
        ((2, 6, 9), r"x: .* with dim=8, got dim=9"),
        ((2, 0, 8), r"x: axis 'n' .* is empty"),
        ((2, 1, 6, 8), r"x: expected \(batch, n, dim\), got 4 axes"),
    ],
)
def test_wrong_shapes(shape, message):
    with pytest.raises(ShapeError, match=message):
        MambaBlock(8)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"direction": "fo-bi"},
            "direction: expected one of 'fo_fo', 'fo_bi', 'bi_bi', got 'fo-bi'. Did you mean 'fo_bi'",
        ),
        ({"dim": 0}, "dim: expected at least 1, got 0"),
        ({"state_size": 0}, "state_size: expected at least 1"),
        ({"dt_min": 0.2}, "dt_min, dt_max: expected 0 < dt_min <= dt_max, got 0.2 and 0.1"),
    ],
)
def test_impossible_values(options, message):
    with pytest.raises(ConfigError, match=message):
        MambaBlock(**{"dim": 8, **options})


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_scan_weights_are_the_matrices_of_the_scans(direction):
    """Inputs mixed by them, with skip, gate and output projection, are the block's own output."""
    module, x = block(direction), torch.randn(2, 7, 8, dtype=torch.float64)
    with torch.no_grad():
        weights = module.scan_weights(x)
        inner, z = module.in_proj(x).chunk(2, dim=-1)
        suffixes = {"fo_fo": [("", 1)], "fo_bi": [("", 1), ("", -1)], "bi_bi": [("", 1), ("_b", -1)]}[direction]
        total = torch.zeros_like(inner)
        for k, (suffix, way) in enumerate(suffixes):
            turned = inner.flip(1) if suffix else inner  # of fo_bi both scans read one causal convolution
            u = module._projections(turned, suffix)[0]
            u = u.flip(1) if suffix else u
            mixed = torch.einsum("bcts,bsc->btc", weights[:, k], u) + u * getattr(module, f"D{suffix}")
            total += mixed * F.silu(z)
            assert (weights[:, k].triu(1) if way > 0 else weights[:, k].tril(-1)).abs().max() == 0
        total = total / 2 if direction == "bi_bi" else total
        torch.testing.assert_close(module.out_proj(total), module(x))
        maps = module.attention_weights(x)
    torch.testing.assert_close(maps, weights.abs().mean(dim=2))
    assert maps.shape == (2, len(suffixes), 7, 7)
    with pytest.raises(ShapeError):
        module.scan_weights(x[..., 1:])
