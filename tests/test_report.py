from __future__ import annotations

import base64
import io
from html.parser import HTMLParser

import numpy as np
import pytest

from evermodels import montage
from evermodels.core.errors import ConfigError
from evermodels.core.specs import EEGSpec, InputSpec, VideoSpec
from evermodels.recognizer import Recognition
from evermodels.report import LIMITS, render_report, write_report
from evermodels.report_result import MOST_ROWS
from evermodels.samples import Source

NAMES = montage.preset("muse")
SPEC = InputSpec(
    window_seconds=2.0, eeg=EEGSpec(ch_names=NAMES, sfreq=64.0), video=VideoSpec(num_frames=4, size=(8, 8))
)
VOID = {"meta", "img", "source", "br", "link", "input"}


class Page(HTMLParser):
    """Collects text, addresses and pictures, and refuses tags that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.headings: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for key, value in attrs:
            if key in ("src", "srcset", "href", "data", "action", "poster"):
                self.addresses.append(value)
        if tag == "h2":
            self.headings.append("")

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data
        if self.open and self.open[-1] == "h2":
            self.headings[-1] += data


def recognition(windows: int = 2, eeg: bool = True, video: bool = True, graph: bool = True, **changes) -> Recognition:
    rng = np.random.default_rng(0)
    inputs, attention = {}, {}
    if eeg:
        inputs["eeg"] = rng.normal(0, 10, (windows, 4, 128)).astype(np.float32)
    if video:
        inputs["video"] = rng.integers(0, 256, (1, 4, 3, 8, 8), dtype=np.uint8)
    if graph:
        attention = {
            "channels": rng.uniform(0.4, 0.6, (windows, 4)),
            "regions": np.full((windows, 2), 0.5),
            "adjacency_region": rng.normal(size=(windows, 4, 4)),
        }
    values = {
        "model": "ever_tiny.test",
        "starts": np.arange(windows) * 2.0,
        "window_seconds": 2.0,
        "probabilities": rng.dirichlet(np.ones(2), windows),
        "classes": ("calm", "tense"),
        "attention": attention,
        "inputs": inputs,
        "input_spec": SPEC,
        "regions": {k: tuple(v) for k, v in montage.regions(NAMES).items()},
        "facts": {"parameters": "1,234", "licence": "Apache-2.0", "not_this": ["It reads no minds."]},
    }
    return Recognition(**{**values, **changes})


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("report")
    path = write_report(recognition(), folder / "page.html", intro="An introduction.")
    assert [p.name for p in folder.iterdir()] == ["page.html"]
    return path.read_text("utf-8")


def test_a_page_that_stands_alone(whole):
    text, page = whole, Page(whole)
    assert page.addresses and all(a.startswith("data:image/png;base64,") for a in page.addresses)
    assert "http://" not in text and "https://" not in text and "@import" not in text and "url(" not in text
    assert not {"script", "link", "iframe", "object", "form"} & set(page.tags)
    assert "prefers-color-scheme: dark" in text
    assert page.headings == [
        "Result",
        "EEG: how much of which rhythm, when",
        "Face: the frames used",
        "Which electrodes counted",
        "How EEG, face and regions are joined",
        "About the model",
        "What this is not",
    ]
    for said in ("An introduction.", "ever_tiny.test", "1,234", "Apache-2.0", "It reads no minds.", *LIMITS):
        assert said in page.text


def test_a_page_says_what_the_eeg_was_compared_with(whole):
    spec = SPEC.replace(eeg=SPEC.eeg.replace(whiten=True, baseline="rest"))
    for against, words in (
        ("baseline", "own spectrum first, that of a baseline of rest"),
        ("recordings", "that of recordings in all states"),
        ("itself", "that of this very recording"),
    ):
        assert words in Page(render_report(recognition(input_spec=spec, against=against))).text
    assert "own spectrum" not in Page(whole).text


def test_every_picture_decodes(whole):
    image = pytest.importorskip("PIL.Image")
    page = Page(whole)
    assert len(page.addresses) == 10  # five pictures, light and dark
    sizes = []
    for address in page.addresses:
        picture = image.open(io.BytesIO(base64.b64decode(address.partition(",")[2], validate=True)))
        picture.load()
        sizes.append(picture.size)
        assert min(picture.size) > 100
    assert sizes[::2] == sizes[1::2]


@pytest.mark.parametrize(
    ("changes", "gone"),
    [
        ({"eeg": False}, ["EEG: how much of which rhythm, when", "Which electrodes counted"]),
        ({"video": False}, ["Face: the frames used"]),
        ({"graph": False}, ["Which electrodes counted", "How EEG, face and regions are joined"]),
    ],
)
def test_sections_without_data_are_left_out(changes, gone):
    headings = Page(render_report(recognition(**changes))).headings
    assert not set(gone) & set(headings) and "Result" in headings


def test_everything_is_escaped():
    evil = "<script>alert('x')</script>\"'&"
    source = Source(evil, evil, evil, evil)
    result = recognition(model=evil, classes=(evil, "b"), facts={evil: evil, "not_this": [evil], "attribution": [evil]})
    text = render_report(
        {evil: result},
        title=evil,
        intro=evil,
        truth={evil: evil},
        notes={"frames": evil},
        limits=[evil],
        sources=[source],
    )
    page = Page(text)
    assert "script" not in page.tags and "<script" not in text
    assert page.text.count(evil) >= 12


def test_several_parts_with_what_they_were_recorded_as():
    calm = recognition(probabilities=np.array([[0.9, 0.1], [0.2, 0.8]]))
    tense = recognition(probabilities=np.array([[0.1, 0.9], [0.3, 0.7]]))
    page = Page(render_report({"first": calm, "second": tense}, truth={"first": "calm", "second": "calm"}))
    assert "1 of 2 windows agree" in page.text and "0 of 2 windows agree" in page.text
    assert len(page.addresses) == 20
    for number in ("0.90", "0.20", "55 %", "80 %"):
        assert number in page.text


def test_a_long_recording_is_cut_in_the_table_and_says_so():
    page = Page(render_report(recognition(windows=MOST_ROWS + 3, eeg=False, video=False, graph=False)))
    assert page.tags.count("tr") == MOST_ROWS + 1 and "3 more windows" in page.text


def test_sources_are_named():
    page = Page(
        render_report(
            recognition(eeg=False, video=False, graph=False),
            sources=[Source("Data", "Who et al., 2019", "ODC-By 1.0", "cut")],
        )
    )
    assert page.headings[-1] == "Whose recordings these are" and "Who et al., 2019. Licence: ODC-By 1.0" in page.text


def test_a_report_on_nothing():
    with pytest.raises(ConfigError, match="at least one"):
        render_report({})
