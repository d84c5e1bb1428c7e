"""How every channel answers to any stored picture, which naming and scoring ask."""
