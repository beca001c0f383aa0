"""Search over features: indexes, and the matching of objects from frame to frame."""
