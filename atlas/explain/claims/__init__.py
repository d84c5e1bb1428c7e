"""Everything that may be said of a picture's evidence: a closed list, true by construction."""
