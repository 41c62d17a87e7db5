"""Readers of public data sets, splits by person, the quadrant pairs, and small changes for training."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
