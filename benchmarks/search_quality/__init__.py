"""Whether a projection earns its place, and what liked and disliked examples add to a query."""
