"""The pre-pass: one pass over the data, bounded in memory, that can be interrupted and shared."""
