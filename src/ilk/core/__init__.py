"""What everything stands on: data, contracts, metrics and errors. Imports no torch."""
