"""Training: recipes, sampling, augmentation, losses, the loop, and from a run to a bundle."""
