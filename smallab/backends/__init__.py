"""Where specifications run."""
