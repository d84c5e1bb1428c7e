"""Pictures that a channel would like: made by optimising, not seen in any data."""
