"""Variational Bayes with a latent space and an image space."""
