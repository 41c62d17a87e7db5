"""evermodels: pretrained models and layers for emotion recognition from EEG, face video, speech and eye movement."""

__version__ = "0.1.0.dev0"
