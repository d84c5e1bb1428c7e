"""Texts made of claims, for two audiences: by rules, or as a language model chooses and orders."""
