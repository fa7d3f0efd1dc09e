"""Evaluating: figures with their intervals, and the out-of-fold predictions of a run."""
