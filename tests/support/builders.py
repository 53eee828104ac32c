"""Builders of domain objects with every field filled: a test names only what it is about."""
