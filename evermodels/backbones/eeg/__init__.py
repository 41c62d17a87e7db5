"""EEG encoders."""
