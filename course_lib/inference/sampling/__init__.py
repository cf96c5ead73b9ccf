"""Markov chain Monte Carlo and its diagnostics."""
