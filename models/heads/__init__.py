"""Heads: features to class scores."""
