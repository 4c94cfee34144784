"""Where the journal keeps which console is in control of a run (``control``)."""

from __future__ import annotations

TABLE = """
CREATE TABLE IF NOT EXISTS pgferry.control (
    run_id bigint PRIMARY KEY REFERENCES pgferry.run ON DELETE CASCADE,
    console text NOT NULL,
    holder text NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    on_detach text NOT NULL DEFAULT 'go on'
);
"""
