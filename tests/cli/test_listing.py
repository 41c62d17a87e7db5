"""What the command line says of models, checkpoints and itself."""

from __future__ import annotations

import pytest

import evermodels as em
from evermodels import samples
from evermodels.checkpoints.table import lookup

REST = samples.path("eegmat_subject33_rest.edf")


def test_version(run):
    assert run("--version") == (0, f"evermodels {em.__version__}\n", "")


def test_list(run):
    code, out, _ = run("list")
    assert code == 0 and [line.split()[0] for line in out.splitlines()] == em.list_models()
    code, out, _ = run("list", "videomae_*", "--kind", "backbone")
    assert code == 0 and [line.split()[0] for line in out.splitlines()] == em.list_models("videomae_*")


def test_list_pretrained(run):
    code, out, _ = run("list", "--pretrained")
    assert code == 0 and [line for line in out.splitlines() if line[0] != " "] == em.list_models(pretrained=True)
    for name in em.list_models(pretrained=True):
        row = lookup(name)
        block = " ".join(out.partition(f"{name}\n")[2].split())
        size = f"size {sum(file.size for file in row.files.values()) / 1e6:.1f} MB"
        for fact in (size, f"data {row.data}", f"protocol {row.protocol}", f"score {row.score}", row.licence):
            assert fact in block


def test_list_without_a_match_says_so(run):
    code, out, err = run("list", "nothing*")
    assert code == 0 and out == "" and "no model matches 'nothing*'" in err and err.count("\n") == 1
    code, out, err = run("list", "ever")
    assert code == 0 and out == "" and "'*ever*') finds ever_base, ever_paper" in err
    code, out, err = run("list", "quadrant", "--pretrained")
    assert code == 0 and out == "" and "'*quadrant*') finds ever_tiny.quadrant" in err


def test_info(run, checkpoint):
    code, out, _ = run("info", "ever_tiny")
    assert code == 0 and "system" in out and "19 channels" in out and "random" not in out
    count = sum(p.numel() for p in em.create_model("ever_tiny").parameters())
    assert f"{count:,}" in out
    code, out, _ = run("info", checkpoint)
    assert code == 0 and "rest & neutral" in out and "checkpoint" in out


COMMANDS = "list info demo predict finetune pretrain evaluate benchmark convert push".split()


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help(command, run):
    code, out, _ = run(*command.split(), "--help")
    assert code == 0 and out.startswith("usage: evermodels")


def test_info_on_what_a_model_would_do_with_other_channels(run, checkpoint):
    info, some = ("info", REST, "--model", checkpoint), "F7,F3,T3,P7,O1,O2,P8,T8,F4,F8"
    code, out, _ = run(*info, "--ch-names", some)
    assert (
        code == 0
        and "interpolated 9 of the model's 19 channels: Fp1" in " ".join(out.split())
        and "10 of its 10" in out
    )
    code, out, _ = run(*info, "--ch-names", "auto")
    assert code == 0 and "interpolated" not in out and "19 of its 19" in out
    code, _, err = run("info", "ever_tiny", "--ch-names", "auto")
    assert code == 2 and "go with a recording" in err
