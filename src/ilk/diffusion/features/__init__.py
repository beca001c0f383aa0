"""Features of images read from the blocks of a diffusion network."""
