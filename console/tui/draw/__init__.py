"""Pure functions from the run's immutable state to lines of text; no widget, no blocking, no clock of their own."""
