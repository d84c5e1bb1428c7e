"""The demo's vision-language model: a small LLaVA that knows the demo world, and its training."""

from pathlib import Path

FOLDER = Path(__file__).parent / "model"
"""What `transformers` loads: configuration, weights, tokenizer and processor."""
