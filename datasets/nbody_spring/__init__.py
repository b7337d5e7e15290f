"""Bodies on springs."""
