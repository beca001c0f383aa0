"""What the methods of `condensation/` share: the problem, images that are trained, losses."""
