"""The library behind "Restoration with Generative Priors": imports point only downward."""

__version__ = "0.1.0"
