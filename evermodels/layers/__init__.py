"""Layers over the functional room, one idea a file; each can be used inside another network."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
