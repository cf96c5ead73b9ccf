"""Priors that no data set trained."""
