"""Masked brain signal modelling under the name that Mood Reader gives it: its encoder and what pre-trains it."""

from evermodels.backbones.eeg.mbsm import MBSMEncoder
from evermodels.backbones.eeg.mbsm_autoencoder import MBSMAutoencoder

__all__ = ["MBSMAutoencoder", "MBSMEncoder"]
