"""What is seen of a batch while it runs: its figures, and the bar or the log lines that show them."""
