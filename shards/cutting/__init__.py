"""Cutting untrimmed videos by their annotations into clips."""
