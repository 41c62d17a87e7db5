from .filters import band_pass as band_pass, notch as notch, resample as resample, sliding_windows as sliding_windows
from .read import read_eeg as read_eeg
from .reader import Reader as Reader
from .recording import EEG as EEG, MissingChannelsError as MissingChannelsError
from .whitening import Whitening as Whitening
