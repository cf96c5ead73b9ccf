"""Super-resolution with a hierarchical VAE."""
