"""Relevance of channels: the rules, the engines that apply them."""
