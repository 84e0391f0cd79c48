"""Measurements against running systems. Tests never look at the clock; these do nothing else."""
