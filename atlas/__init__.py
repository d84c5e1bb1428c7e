"""Concept Atlas: a browsable, citable catalogue of what the channels of a CNN mean."""

__version__ = "0.1.0"
