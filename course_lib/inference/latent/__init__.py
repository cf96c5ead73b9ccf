"""Inference over the latent of a generator."""
