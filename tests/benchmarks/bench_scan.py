"""Rows of the speed table for the selective scan: run with ``python tests/benchmarks/bench_scan.py``.

Peers that are not installed are left out; mamba-ssm's reference function is then replaced by a loop of our own that
does the same (einsum, indexing by step). ``--quick`` leaves out the backward of mamba-ssm's reference and of
transformers' slow path, which take half a minute each and more.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))

from _timing import alternating_medians

from evermodels.functional.scan import selective_scan
from evermodels.layers.mamba import MambaBlock

BATCH, CHANNELS, LENGTH, STATE = 8, 384, 513, 16
Inputs = dict[str, Tensor]


def inputs(batch: int = BATCH, length: int = LENGTH, dtype: torch.dtype = torch.float32, grad: bool = False) -> Inputs:
    """Arguments with Mamba's own initial A and step sizes between 0.001 and 0.1."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    given = {
        "u": draw(batch, CHANNELS, length),
        "delta": 0.5 * draw(batch, CHANNELS, length),
        "A": -torch.arange(1.0, STATE + 1).repeat(CHANNELS, 1),
        "B": draw(batch, STATE, length),
        "C": draw(batch, STATE, length),
        "D": torch.ones(CHANNELS),
        "z": draw(batch, CHANNELS, length),
        "delta_bias": -4 + draw(CHANNELS),
    }
    return {name: x.to(dtype).requires_grad_(grad) for name, x in given.items()}


def ours(x: Inputs) -> Tensor:
    return selective_scan(**x, delta_softplus=True)  # type: ignore[return-value]


def finish(y: Tensor, x: Inputs) -> Tensor:
    return (y + x["D"][:, None] * x["u"]) * F.silu(x["z"])


def plain_loop(x: Inputs) -> Tensor:
    """Unbound time steps under autograd, everything else at once."""
    delta = F.softplus(x["delta"] + x["delta_bias"][:, None])
    decay = torch.exp(delta[..., None] * x["A"][:, None])
    drive = (delta * x["u"])[..., None] * x["B"].transpose(1, 2)[:, None]
    state, outputs = torch.zeros_like(drive[:, :, 0]), []
    for a, b, c in zip(decay.unbind(2), drive.unbind(2), x["C"].unbind(2), strict=True):
        state = a * state + b
        outputs.append((state @ c[..., None]).squeeze(-1))
    return finish(torch.stack(outputs, -1), x)


def einsum_loop(x: Inputs) -> Tensor:
    """What mamba-ssm's reference function does, by its description: einsum, and indexing at each step."""
    delta = F.softplus(x["delta"] + x["delta_bias"][:, None])
    decay = torch.exp(torch.einsum("bdl,dn->bdln", delta, x["A"]))
    drive = torch.einsum("bdl,bnl,bdl->bdln", delta, x["B"], x["u"])
    state, outputs = torch.zeros_like(drive[:, :, 0]), []
    for t in range(drive.shape[2]):
        state = decay[:, :, t] * state + drive[:, :, t]
        outputs.append(torch.einsum("bdn,bn->bd", state, x["C"][:, :, t]))
    return finish(torch.stack(outputs, -1), x)


def mamba_ssm_reference() -> tuple[str, Callable[[Inputs], Tensor]]:
    """mamba-ssm's reference function, or the loop that stands for it."""
    if importlib.util.find_spec("mamba_ssm") is None:
        return "einsum loop (for mamba-ssm's selective_scan_ref)", einsum_loop
    if importlib.util.find_spec("selective_scan_cuda") is None:  # built without CUDA: only the reference is needed
        sys.modules.setdefault("selective_scan_cuda", types.ModuleType("selective_scan_cuda"))
    interface = importlib.import_module("mamba_ssm.ops.selective_scan_interface")
    return "mamba-ssm selective_scan_ref", lambda x: interface.selective_scan_ref(**x, delta_softplus=True)


def mambapy() -> Callable[[Inputs], Tensor] | None:
    """The parallel scan of mambapy, with the same discretisation around it."""
    if importlib.util.find_spec("mambapy") is None:
        return None
    pscan = importlib.import_module("mambapy.pscan").pscan

    def run(x: Inputs) -> Tensor:
        delta = F.softplus(x["delta"] + x["delta_bias"][:, None]).transpose(1, 2)
        decay = torch.exp(delta[..., None] * x["A"])
        drive = (delta * x["u"].transpose(1, 2))[..., None] * x["B"].transpose(1, 2)[:, :, None]
        y = (pscan(decay, drive) @ x["C"].transpose(1, 2)[..., None]).squeeze(-1)
        return finish(y.transpose(1, 2), x)

    return run


def methods() -> dict[str, Callable[[Inputs], Tensor]]:
    found = {"ours": ours, "plain loop": plain_loop}
    parallel = mambapy()
    if parallel is not None:
        found["mambapy pscan"] = parallel
    return found


def train(function: Callable[[Inputs], Tensor], x: Inputs) -> tuple[Tensor, ...]:
    return torch.autograd.grad(function(x).sum(), list(x.values()))


def relative(a: Tensor, b: Tensor) -> float:
    return ((a.double() - b.double()).abs().max() / b.double().abs().max()).item()


def speed(repeats: int, quick: bool) -> None:
    print(f"selective scan, B {BATCH}, D {CHANNELS}, L {LENGTH}, N {STATE}; {torch.get_num_threads()} thread(s)")
    plain, learned = inputs(), inputs(grad=True)
    name, reference = mamba_ssm_reference()
    with torch.no_grad():
        functions = {**methods(), name: reference}
        forward = alternating_medians({k: lambda f=f: f(plain) for k, f in functions.items()}, repeats)
    both = alternating_medians({k: lambda f=f: train(f, learned) for k, f in methods().items()}, repeats)
    if not quick:
        both |= alternating_medians({name: lambda: train(reference, learned)}, repeats=1, warmup=0)
    for k in functions:
        print(row(k, forward, both, "ours"))


def mixer(repeats: int, quick: bool) -> None:
    """transformers' slow path is the whole mixer, so it is timed against the whole MambaBlock on the same weights."""
    if importlib.util.find_spec("transformers") is None:
        return
    modeling = importlib.import_module("transformers.models.mamba.modeling_mamba")
    config = importlib.import_module("transformers").MambaConfig(
        hidden_size=CHANNELS // 2, state_size=STATE, num_hidden_layers=1, use_mambapy=False
    )
    theirs = modeling.MambaMixer(config, layer_idx=0)  # without CUDA it takes its slow path
    block = MambaBlock(CHANNELS // 2, direction="fo_fo", state_size=STATE)
    block.load_state_dict(theirs.state_dict())
    x = torch.randn(BATCH, LENGTH, CHANNELS // 2)
    pairs = {"ours (MambaBlock)": block, "transformers slow path": theirs}
    with torch.no_grad():
        difference = relative(block(x), theirs(x))
        forward = alternating_medians({k: lambda f=f: f(x) for k, f in pairs.items()}, repeats)
    print(f"whole mixer, width {CHANNELS // 2}; difference of the outputs {difference:.1e}")
    mine = "ours (MambaBlock)"
    both = {}
    if not quick:  # indexing by step makes their backward as slow as the reference's: one run
        both = alternating_medians({k: lambda f=f: f(x).sum().backward() for k, f in pairs.items()}, 1, warmup=0)
    for k in pairs:
        print(row(k, forward, both, mine))


def row(name: str, forward: dict[str, float], both: dict[str, float], mine: str) -> str:
    text = f"  {name:<34} forward {forward[name]:8.4f} s ({forward[name] / forward[mine]:6.1f} x ours)"
    if name in both:
        text += f"   forward+backward {both[name]:8.4f} s ({both[name] / both[mine]:6.1f} x ours)"
    return text


def errors() -> None:
    with torch.no_grad():
        truth = plain_loop(inputs(dtype=torch.float64))
        print("error against the plain loop in float64")
        for k, f in methods().items():
            print(f"  {k:<34} y {relative(f(inputs()), truth):.1e}")
        del truth
    truth_grads = train(plain_loop, inputs(1, dtype=torch.float64, grad=True))
    for k, f in methods().items():
        worst = max(map(relative, train(f, inputs(1, grad=True)), truth_grads))
        print(f"  {k:<34} worst of the eight gradients {worst:.1e}")


def resident(field: str) -> float:
    """Return a line of Linux's /proc/self/status in MB: "VmRSS" is now, "VmHWM" the peak since it was last reset."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return int(lines[field].split()[0]) / 1024


def peak(name: str) -> None:
    """Print by how many MB forward and backward raise this process's resident memory at their peak."""
    x = inputs(grad=True)
    train(ours, inputs(1, 16, grad=True))  # what is loaded once is not counted
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = resident("VmRSS")
    train(methods()[name], x)
    print(resident("VmHWM") - before)


def memory() -> None:
    if not Path("/proc/self/clear_refs").exists():
        print("peak memory: measured on Linux only")
        return
    print("peak memory of forward+backward above the inputs")
    found = {}
    for k in methods():
        command = [sys.executable, __file__, "--peak-of", k, "--threads", str(torch.get_num_threads())]
        found[k] = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
    for k, megabytes in found.items():
        print(f"  {k:<34} {megabytes:8.0f} MB ({megabytes / found['ours']:5.1f} x ours)")


def linearity(repeats: int) -> None:
    print("ours by length, B 1: time per step")
    for length in (513, 1024, 4096, 16384):
        x = inputs(1, length, grad=True)
        (seconds,) = alternating_medians({"ours": lambda x=x: train(ours, x)}, repeats).values()
        print(f"  L {length:<6} forward+backward {seconds:8.4f} s = {1e6 * seconds / length:6.2f} us per step")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="leave out the two slowest backward passes")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.peak_of:
        peak(arguments.peak_of)
        return
    mixer(
        arguments.repeats, arguments.quick
    )  # first: transformers would use the stand-in that mamba-ssm's import needs below
    speed(arguments.repeats, arguments.quick)
    errors()
    memory()
    linearity(arguments.repeats)


if __name__ == "__main__":
    main()
