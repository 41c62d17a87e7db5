"""evermodels: pretrained models and layers for emotion recognition from EEG, face video, speech and eye movement.

Names are resolved when they are first used, so that ``import evermodels`` stays light.

Example:
    >>> import evermodels as em
    >>> em.list_models("audio_mamba_*")
    ['audio_mamba_base', 'audio_mamba_nano', 'audio_mamba_small', 'audio_mamba_tiny']
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
