"""Rules about a whole plan: what no look at one statement can see."""

from __future__ import annotations

from console.sql.hazards.rule import Rule

RULES: tuple[Rule, ...] = ()
