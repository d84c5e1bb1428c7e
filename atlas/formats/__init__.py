"""Folders of other tools, read and written."""
