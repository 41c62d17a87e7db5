from . import audio as audio, eeg as eeg, eye as eye, video as video
from .audio import Audio as Audio, read_audio as read_audio
from .describe import describe_recording as describe_recording
from .eeg import (
    EEG as EEG,
    Whitening as Whitening,
    band_pass as band_pass,
    notch as notch,
    read_eeg as read_eeg,
    resample as resample,
    sliding_windows as sliding_windows,
)
from .eye import Eye as Eye, read_eye as read_eye
from .inputs import Inputs as Inputs
from .preprocessor import Preprocessor as Preprocessor
from .video import (
    HaarFaceCrop as HaarFaceCrop,
    Video as Video,
    crop_faces as crop_faces,
    haar_face_crop as haar_face_crop,
    read_video as read_video,
    video_duration as video_duration,
)
