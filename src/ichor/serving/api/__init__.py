"""The routes of ``/api/v1``, a module a subject."""
