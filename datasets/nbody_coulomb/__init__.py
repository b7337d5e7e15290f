"""Softened Coulomb forces in a periodic box."""
