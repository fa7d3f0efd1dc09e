"""ichor finds intracranial hemorrhage on non-contrast head CT. Research software, not a medical device."""

__version__ = "0.1.0"
