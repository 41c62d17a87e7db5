"""Face video: files, pictures and arrays -> frames by time stamp -> the face -> windows."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
