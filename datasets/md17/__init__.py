"""Published molecular dynamics."""
