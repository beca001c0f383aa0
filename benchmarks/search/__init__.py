"""How fast and how completely images are found, and whether a projection earns its place."""
