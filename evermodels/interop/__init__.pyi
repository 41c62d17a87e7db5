from .braindecode import EEGModel as EEGModel
