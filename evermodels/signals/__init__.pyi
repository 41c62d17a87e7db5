from . import audio as audio, eeg as eeg, eye as eye, video as video
from .audio import Audio as Audio, read_audio as read_audio
from .eeg import (
    EEGRecording as EEGRecording,
    Whitening as Whitening,
    band_pass as band_pass,
    describe_recording as describe_recording,
    notch as notch,
    read_eeg as read_eeg,
    resample as resample,
    sliding_windows as sliding_windows,
)
from .eye import Eye as Eye, read_eye as read_eye
from .preprocessor import Inputs as Inputs, Preprocessor as Preprocessor
from .video import (
    HaarFaceCrop as HaarFaceCrop,
    crop_faces as crop_faces,
    haar_face_crop as haar_face_crop,
    read_video as read_video,
    video_duration as video_duration,
)
