"""Checkpoints: written whole, verified before they are parsed, loaded strictly, and reported on."""
