"""Hooks that are ready to use: mails about a batch, and its log."""
