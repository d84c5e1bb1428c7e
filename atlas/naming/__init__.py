"""Naming: a vision-language model, labels or an image-text model say what a channel means."""
