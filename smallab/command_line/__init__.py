"""The command lines: of experiments and groups, of batches, and the dashboard."""
