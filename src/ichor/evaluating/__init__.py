"""Evaluating: figures with their intervals, and what a run says out of fold."""
