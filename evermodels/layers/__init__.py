"""Placeholder docstring: the room's owner replaces it."""
