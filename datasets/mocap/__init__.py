"""Captured motion of people."""
