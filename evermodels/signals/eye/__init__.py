"""Eye movement and pupil: recordings from tables, blinks, fixations and saccades, features, windows."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
