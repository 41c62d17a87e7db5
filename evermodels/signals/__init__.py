"""Recordings -> model inputs: a room for each modality; the preprocessor is built from a model's input spec."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
