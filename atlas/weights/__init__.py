"""What the weights of a network say its channels are made of."""
