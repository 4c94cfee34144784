"""The README's pictures, drawn from a real run: ``python -m tests.pictures``."""
