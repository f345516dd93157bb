"""Necks: between a backbone's feature maps and a head."""
