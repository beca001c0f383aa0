"""The same picture twice: identical bytes, identical pixels, and near-duplicates."""
