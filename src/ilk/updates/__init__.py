"""Update a saved classifier: add classes, adapt class priors, and discover groups of new images."""
