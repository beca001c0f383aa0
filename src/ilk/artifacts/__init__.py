"""Save, load and use trained classifiers and anomaly detectors."""
