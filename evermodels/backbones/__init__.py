"""Encoders: one family per file, each declares what it takes and shares timm's names."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
