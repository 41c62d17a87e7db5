"""Encoders of eye movement and pupil."""
