"""Names of things: ImageNet's classes, what WordNet calls them, and what lies above them."""
