"""Checkpoints published by others: their formats and networks."""
