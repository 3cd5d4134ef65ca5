"""Experiments that are functions: their parameters, and groups of them."""
