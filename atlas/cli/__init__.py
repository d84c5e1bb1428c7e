"""The command line: reads arguments, calls the stages, turns problems into one line.

Each module has the commands of one subject; importing it adds them to `main`.
"""

from atlas.cli import (
    auditing,
    building,
    citing,
    comparing,
    explaining,
    factoring,
    influencing,
    looking,
    making,
    naming,
    publishing,
    scoring,
)
from atlas.cli.group import main

__all__ = [
    "auditing",
    "building",
    "citing",
    "comparing",
    "explaining",
    "factoring",
    "influencing",
    "looking",
    "main",
    "making",
    "naming",
    "publishing",
    "scoring",
]
