"""Pictures that are in a folder more than once, by evidence."""
