"""Softened gravity in a periodic box."""
