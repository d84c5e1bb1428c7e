"""Scoring: how well each channel's name foretells what the channel answers to."""
