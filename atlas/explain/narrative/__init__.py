"""Evidence in words, for two audiences; every sentence says what it rests on and is verified."""
