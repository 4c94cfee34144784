"""pgferry: carries a live PostgreSQL database from an old shape to a new one while its applications keep running."""

__version__ = "0.1.0"
