"""Sound: files, sound tracks of videos and arrays -> one channel at a rate -> log-mel spectrograms or waveforms."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
