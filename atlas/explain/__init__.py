"""Explanations of single pictures: evidence, interventions, and words that are held to both."""
