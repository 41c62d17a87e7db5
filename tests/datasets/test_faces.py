"""The face set, on made-up pictures and on the real ones."""

import shutil

import numpy as np
import pytest

from evermodels.core.errors import ConfigError, DataError
from evermodels.datasets import LondonFaces


class BoxAt:
    """A finder that sees the face at given places, one a call."""

    def __init__(self, *boxes):
        self.boxes = iter(boxes)

    def __call__(self, picture):
        return next(self.boxes)


def test_the_flat_layout(faces, faces_folder):
    cv2 = pytest.importorskip("cv2")
    assert faces.people == tuple(f"{i:03d}" for i in range(9))
    photo = faces.photo("004", "smiling")
    assert photo.shape == (96, 96, 3)
    assert np.array_equal(photo, cv2.imread(str(faces_folder / "004_smiling.jpg"))[:, :, ::-1])
    assert photo is faces.photo("004", "smiling")
    assert faces.photo("004", "smiling", size=(32, 24)).shape == (32, 24, 3)
    with pytest.raises(ValueError, match="read-only"):
        photo[0] = 0


def test_the_publishers_layout(faces, faces_folder, tmp_path):
    for folder, number, name in (("neutral_front", "03", "neutral"), ("smiling_front/smiling_front", "08", "smiling")):
        (tmp_path / folder).mkdir(parents=True)
        for i in range(9):
            shutil.copy(faces_folder / f"{i:03d}_{name}.jpg", tmp_path / folder / f"{i:03d}_{number}.jpg")
    published = LondonFaces(tmp_path, crop=False)
    assert published.people == faces.people
    for name in ("neutral", "smiling"):
        assert np.array_equal(published.photo("002", name), faces.photo("002", name))


def test_face_alignment_takes_the_position_away(faces_folder):
    """Boxes of 20 and 24 pixels become one side of 22, around each photograph's own centre."""
    both = ((10, 20, 20, 20), (12, 30, 24, 24))
    own = LondonFaces(faces_folder, margin=0.0, finder=BoxAt(*both))
    assert own.box("000", "neutral") == (9.0, 19.0, 31.0, 41.0)
    assert own.box("000", "smiling") == (13.0, 31.0, 35.0, 53.0)
    whole = LondonFaces(faces_folder, crop=False)
    assert np.array_equal(own.photo("000", "smiling"), whole.photo("000", "smiling")[31:53, 13:35])
    shared = LondonFaces(faces_folder, margin=0.0, align="picture", finder=BoxAt(*both))
    assert shared.box("000", "neutral") == shared.box("000", "smiling") == (11.0, 25.0, 33.0, 47.0)


def test_the_margin_repeats_the_edge(faces_folder):
    faces = LondonFaces(faces_folder, margin=0.5, finder=BoxAt((0, 0, 40, 40), (0, 0, 40, 40)))
    photo = faces.photo("000", "neutral")
    assert photo.shape == (80, 80, 3)
    assert (photo[:20] == photo[20]).all()


def test_no_face_is_an_error_with_the_files_name(faces_folder):
    with pytest.raises(DataError, match=r"no face was found in 000_neutral\.jpg"):
        LondonFaces(faces_folder).photo("000", "smiling")
    with pytest.raises(DataError, match=r"no face was found in 003_smiling\.jpg"):
        LondonFaces(faces_folder, finder=BoxAt((0, 0, 9, 9), None)).photo("003", "neutral")


def test_bad_folders_and_names(faces, tmp_path, writer):
    with pytest.raises(DataError, match="is not a folder"):
        LondonFaces(tmp_path / "none")
    with pytest.raises(DataError, match=r"holds neither neutral_front/001_03\.jpg"):
        LondonFaces(tmp_path)
    writer.write_faces(tmp_path, 2)
    (tmp_path / "001_smiling.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"001_smiling\.jpg is not a picture"):
        LondonFaces(tmp_path, crop=False).photo("001", "smiling")
    (tmp_path / "001_smiling.jpg").unlink()
    with pytest.raises(DataError, match="lacks 001_smiling"):
        LondonFaces(tmp_path)
    with pytest.raises(DataError, match="person: '999' is not there"):
        faces.photo("999", "neutral")
    with pytest.raises(DataError, match="got 'angry'"):
        faces.photo("000", "angry")
    with pytest.raises(ConfigError, match="align"):
        LondonFaces(tmp_path, align="eyes")
    with pytest.raises(ConfigError, match="margin"):
        LondonFaces(tmp_path, margin=2.0)


def test_the_real_faces(real_data):
    faces = LondonFaces(real_data / "faces")
    assert len(faces.people) == 102
    # 042 is the one whom the cascade sees only at the second try.
    for person in ("001", "042", "130"):
        boxes = {name: faces.box(person, name) for name in ("neutral", "smiling")}
        sides = {round(box[2] - box[0], 6) for box in boxes.values()}
        assert len(sides) == 1
        assert 150 < sides.pop() < 260
        assert faces.photo(person, "neutral", size=(64, 64)).std() > 10
