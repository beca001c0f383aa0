"""How far to trust an answer: probabilities, sets, unknowns and suspected labels."""
