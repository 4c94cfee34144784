"""The tables in which other tools keep what they applied: read before a run, written together with each migration."""
