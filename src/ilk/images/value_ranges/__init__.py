"""Which stored values of deep images (more than 8 bits) are black and white."""
