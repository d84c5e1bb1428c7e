"""The atlas in Python."""
