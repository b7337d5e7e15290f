"""Our own molecular dynamics."""
