"""The mathematics that several methods share."""
