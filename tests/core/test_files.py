from __future__ import annotations

import os
from pathlib import Path

import pytest

from evermodels.core.errors import ConfigError
from evermodels.core.files import check_target, write_whole


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    target = tmp_path / "page.html"
    target.write_text("before")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(ConfigError, match="No space left"):
        write_whole(target, "after")
    assert target.read_text() == "before" and len(list(tmp_path.iterdir())) == 1


def test_a_whole_write_is_readable_by_others(tmp_path):
    path = write_whole(tmp_path / "page.html", "text\n")
    assert path.read_text() == "text\n" and path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value


def test_bad_targets(tmp_path):
    with pytest.raises(ConfigError, match=r"--out: the folder of .* does not exist"):
        check_target(tmp_path / "no" / "page.html", "--out")
    with pytest.raises(ConfigError, match="is a folder"):
        write_whole(tmp_path, "x")
