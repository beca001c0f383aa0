"""An optimized noise in place of many random ones."""
