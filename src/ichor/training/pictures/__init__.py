"""The small network that says of a picture whether it shows a head CT, and in which window."""
