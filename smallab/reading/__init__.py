"""What is there: results, states, tables, files, and how a notebook shows them."""
