"""Data sets: one module each behind one registry, splits, prepared stores."""
