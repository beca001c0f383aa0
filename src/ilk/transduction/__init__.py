"""What transductive methods share, and guards against learning wrongly from unlabelled rows."""
