"""What is seen of a batch while it runs."""
