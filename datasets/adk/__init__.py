"""A protein at rest, observed for a microsecond."""
