"""Metrics, keyed by sample index: padding and repeats cannot count twice, and N ranks give what one gives."""
