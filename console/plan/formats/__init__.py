"""Directories of migrations written for other tools, read as plans: one module a layout, ``detect`` chooses."""
