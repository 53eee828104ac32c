"""BloomWeaver keeps a vector index in step with changing content."""

__version__ = "0.1.0"
