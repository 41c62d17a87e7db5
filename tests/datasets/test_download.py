"""Getting data: a real pooch client against a server on this machine."""

import functools
import hashlib
import http.server
import threading
from typing import ClassVar

import pytest

from evermodels.core.errors import DataError, UnknownNameError
from evermodels.datasets import data_folder, download, fetch

pytest.importorskip("pooch")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    asked: ClassVar[list[str]] = []

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.asked.append(self.path)
        super().do_GET()


@pytest.fixture
def publisher(tmp_path, monkeypatch):
    """A publisher with two files and a list of digests: (folder, url, asked paths)."""
    folder = tmp_path / "publisher"
    folder.mkdir()
    for name, text in (("Subject01_1.edf", b"rest"), ("Subject01_2.edf", b"arithmetic" * 1000)):
        (folder / name).write_bytes(text)
    _sums(folder)
    monkeypatch.setattr(download, "_RETRIES", 0)
    monkeypatch.setattr(_Quiet, "asked", [])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}/", _Quiet.asked
    server.shutdown()
    server.server_close()
    thread.join()


def _sums(folder):
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()} {p.name}" for p in sorted(folder.glob("*.edf"))]
    (folder / "SHA256SUMS.txt").write_text("\n".join(lines) + "\n")


BOTH = ("Subject01_1.edf", "Subject01_2.edf")


def test_files_arrive_and_are_not_fetched_twice(publisher, tmp_path):
    _, url, asked = publisher
    target = fetch("eegmat", tmp_path / "data", files=BOTH, base_url=url)
    assert (target / BOTH[1]).read_bytes() == b"arithmetic" * 1000
    assert sorted(p.name for p in target.iterdir()) == ["SHA256SUMS.txt", *BOTH]
    asked.clear()
    fetch("eegmat", target, files=BOTH, base_url=url)
    assert asked == ["/SHA256SUMS.txt"]


def test_the_default_folder_is_under_the_variable(publisher, tmp_path, monkeypatch):
    _, url, _ = publisher
    monkeypatch.setenv("EVERMODELS_DATA", str(tmp_path / "all"))
    assert fetch("eegmat", files=BOTH[:1], base_url=url) == tmp_path / "all" / "eegmat"
    assert data_folder("eegmat") == tmp_path / "all" / "eegmat"


def test_a_wrong_digest_leaves_nothing(publisher, tmp_path):
    folder, url, _ = publisher
    (folder / BOTH[1]).write_bytes(b"something else")
    with pytest.raises(DataError, match=r"Subject01_2\.edf from http.* is not the published file"):
        fetch("eegmat", tmp_path / "data", files=BOTH, base_url=url)
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == ["SHA256SUMS.txt", BOTH[0]]


def test_a_pinned_digest_outranks_the_publishers_list(publisher, tmp_path):
    folder, url, _ = publisher
    (folder / "Subject00_1.edf").write_bytes(b"forged")
    _sums(folder)
    with pytest.raises(DataError, match=r"SHA256SUMS\.txt gives .* for Subject00_1\.edf, and [0-9a-f]{64} is known"):
        fetch("eegmat", tmp_path / "data", files=(*BOTH, "Subject00_1.edf"), base_url=url)
    with pytest.raises(DataError, match="is not the published file"):
        fetch("eegmat", tmp_path / "data", files=("Subject00_1.edf",), base_url=url)
    assert not list((tmp_path / "data").glob("*.edf"))


def test_the_list_is_fetched_anew(publisher, tmp_path):
    folder, url, _ = publisher
    fetch("eegmat", tmp_path / "data", files=BOTH[:1], base_url=url)
    (folder / BOTH[1]).write_bytes(b"a corrected recording")
    _sums(folder)
    fetch("eegmat", tmp_path / "data", files=BOTH, base_url=url)
    assert (tmp_path / "data" / BOTH[1]).read_bytes() == b"a corrected recording"


def test_a_different_file_that_is_there_is_never_overwritten(publisher, tmp_path):
    _, url, _ = publisher
    mine = tmp_path / "data" / BOTH[0]
    mine.parent.mkdir()
    mine.write_bytes(b"my own resampled version")
    with pytest.raises(DataError, match=r"Subject01_1\.edf is there and is not the published file"):
        fetch("eegmat", mine.parent, files=BOTH, base_url=url)
    assert mine.read_bytes() == b"my own resampled version"


def test_missing_files_and_a_dead_server(publisher, tmp_path):
    folder, url, _ = publisher
    (folder / BOTH[1]).unlink()
    with pytest.raises(DataError, match=r"Subject01_2\.edf could not be fetched"):
        fetch("eegmat", tmp_path / "data", files=BOTH, base_url=url)
    with pytest.raises(DataError, match=r"has no line for Subject05_1\.edf"):
        fetch("eegmat", tmp_path / "data", files=("Subject05_1.edf",), base_url=url)
    with pytest.raises(DataError, match=r"SHA256SUMS\.txt could not be fetched"):
        fetch("eegmat", tmp_path / "other", files=BOTH, base_url="http://127.0.0.1:9/")
    assert not list((tmp_path / "other").glob("*"))


def test_what_cannot_be_fetched(tmp_path, monkeypatch):
    with pytest.raises(UnknownNameError, match=r"'eegmats' is not known\. Did you mean 'eegmat'"):
        fetch("eegmats", tmp_path)
    with pytest.raises(DataError, match=r"faces: .* neutral_front\.zip and smiling_front\.zip"):
        fetch("faces", tmp_path)
    with pytest.raises(DataError, match=r"'Subject00_3\.edf' is not one of its files"):
        fetch("eegmat", tmp_path, files=("Subject00_3.edf",))
    monkeypatch.delenv("EVERMODELS_DATA", raising=False)
    with pytest.raises(DataError, match="give a folder, or set the environment variable EVERMODELS_DATA"):
        fetch("eegmat")


def test_data_folder_says_how_to_get_the_data(tmp_path, monkeypatch):
    monkeypatch.delenv("EVERMODELS_DATA", raising=False)
    with pytest.raises(DataError, match=r"EVERMODELS_DATA is not set.*ODC-By.*evermodels\.datasets\.fetch\('eegmat'"):
        data_folder("eegmat")
    with pytest.raises(DataError, match=r"there is no folder .*faces'.*CC BY 4\.0.*doi\.org"):
        data_folder("faces", root=tmp_path)
    (tmp_path / "faces").mkdir()
    assert data_folder("faces", root=tmp_path) == tmp_path / "faces"


def test_the_pinned_digests_are_those_of_the_published_files(real_data):
    folder = real_data / "eegmat_original"
    pinned = download.SOURCES["eegmat"].digests
    assert sorted(pinned) == sorted(p.name for p in folder.glob("*.edf"))
    for name, digest in pinned.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
