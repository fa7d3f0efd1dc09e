"""How answers change with the input."""
