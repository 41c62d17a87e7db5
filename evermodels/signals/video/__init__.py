"""Face video: files, pictures and arrays -> frames by time stamp -> the face -> windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evermodels.core.lazy import lazy_names

if TYPE_CHECKING:
    from evermodels.signals.video.face_track import crop_faces, haar_face_crop
    from evermodels.signals.video.faces import HaarFaceCrop
    from evermodels.signals.video.read import read_video, video_duration


__all__ = ["HaarFaceCrop", "crop_faces", "haar_face_crop", "read_video", "video_duration"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "face_track": ("crop_faces", "haar_face_crop"),
        "faces": ("HaarFaceCrop",),
        "read": ("read_video", "video_duration"),
    },
)
