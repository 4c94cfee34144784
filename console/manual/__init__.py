"""The manual: a page of Markdown for each topic, read by ``pgferry manual``, in the console and beside the code."""

from __future__ import annotations

# In the order in which a newcomer needs them; each is a file TOPIC.md of this package.
TOPICS = (
    "console",
    "plan",
    "connecting",
    "sql",
    "rehearsal",
    "approval",
    "running",
    "sync",
    "copy",
    "validation",
    "rollback",
    "reports",
    "migrations",
)
