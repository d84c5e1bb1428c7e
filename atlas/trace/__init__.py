"""What a network does with a picture: found out by running it once, whoever wrote it."""
