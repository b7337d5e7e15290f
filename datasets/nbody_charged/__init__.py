"""Charged bodies in open space."""
