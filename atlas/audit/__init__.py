"""How far maps of what an answer rests on hold: maps, measures of them, and what came out."""
