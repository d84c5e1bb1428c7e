"""Patches: cropped from references, localised, shown, turned into vectors and indexed."""
