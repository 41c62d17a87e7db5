"""Small made-up data sets in the publishers' layouts."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from evermodels.datasets import EEGMAT, LondonFaces, SubjectSplit

_spec = importlib.util.spec_from_file_location("_edf", Path(__file__).with_name("_edf.py"))
edf = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(edf)


@pytest.fixture(scope="session")
def writer():
    """The module that writes small data sets."""
    return edf


@pytest.fixture(scope="session")
def eegmat_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("eegmat")
    edf.write_eegmat(folder, 8)
    return folder


@pytest.fixture(scope="session")
def faces_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    edf.write_faces(folder, 9)
    return folder


@pytest.fixture(scope="session")
def eegmat(eegmat_folder) -> EEGMAT:
    return EEGMAT(eegmat_folder, sfreq=50.0, window_seconds=2.0)


@pytest.fixture(scope="session")
def faces(faces_folder) -> LondonFaces:
    return LondonFaces(faces_folder, crop=False)


@pytest.fixture(scope="session")
def split() -> dict[str, SubjectSplit]:
    return {
        "eeg_subject": SubjectSplit(("00", "01", "02", "03"), ("04", "05"), ("06", "07")),
        "face_id": SubjectSplit(("000", "001", "002", "003", "004"), ("005", "006"), ("007", "008")),
    }
