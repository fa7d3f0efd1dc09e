"""From a published network to a bundle: its files are read strictly, and the graphs are compared with it."""
