"""Few images that train nearly as good a classifier: made, or chosen."""
