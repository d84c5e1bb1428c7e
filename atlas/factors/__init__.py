"""Factors: concepts of a layer that are directions of it, and no single channels."""
