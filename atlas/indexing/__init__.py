"""The stage after the pre-pass: stored pictures, patches and their index."""
