"""Constants to be found out from context."""
