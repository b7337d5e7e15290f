"""Charges in a trap."""
