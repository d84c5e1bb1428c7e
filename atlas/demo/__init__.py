"""The demo world: drawn pictures, a small network trained on them, and the planted truth."""
