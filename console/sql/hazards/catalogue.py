"""The one table of rules, by code: what is reported, accepted, explained and documented derives from it."""

from __future__ import annotations

import difflib

from console.sql.hazards import table_breaks, table_plan, table_style, table_waits
from console.sql.hazards.rule import Level, Rule

RULES: dict[str, Rule] = {
    rule.code: rule for rule in (*table_waits.RULES, *table_breaks.RULES, *table_plan.RULES, *table_style.RULES)
}
UNKNOWN = "UNKNOWN-STATEMENT"
_ALIASES = {"UNKNOWN": UNKNOWN}
_HEADS = {
    Level.HURTS: "Hurts: fails `pgferry lint` unless the file accepts it",
    Level.NOTE: "Notes: worth knowing, never fail anything",
    Level.STYLE: "Style: shown with `pgferry lint --style`",
}


def canonical(code: str) -> str:
    """The code as the table has it: upper case, short forms spelled out."""
    upper = code.upper()
    return _ALIASES.get(upper, upper)


def level_of(code: str) -> Level:
    """How much a hazard of this code counts; one that the table does not have counts in full."""
    rule = RULES.get(code)
    return rule.level if rule else Level.HURTS


def near(code: str) -> str:
    """The known code that is most like this one; empty where none is near."""
    return next(iter(difflib.get_close_matches(canonical(code), [*RULES, *_ALIASES], 1, 0.6)), "")


def explain(rule: Rule) -> str:
    """A rule for a person, as plain text."""
    lines = [f"{rule.code} ({rule.level}): {rule.title}", "", f"  {rule.why}", "", "  It is reported for:", ""]
    lines += [f"    {line}" for line in rule.fires.splitlines()]
    lines += ["", "  It is not reported for:", ""]
    lines += [f"    {line}" for line in rule.safe.splitlines()]
    if rule.server != 18:
        lines += ["", f"  Both as PostgreSQL {rule.server} reads them."]
    lines += ["", f"  Accept it: -- pgferry: allow {rule.code} REASON"]
    if rule.source:
        lines.append(f"  Known from: {rule.source}")
    return "\n".join(lines)


def listing() -> str:
    """Every code with its title, grouped by level."""
    lines: list[str] = []
    for level, head in _HEADS.items():
        lines += [head.replace("`", ""), ""]
        lines += [f"  {rule.code:<30} {rule.title}" for rule in RULES.values() if rule.level is level]
        lines.append("")
    return "\n".join(lines).rstrip()


def page() -> str:
    """The page of the documentation, as Markdown."""
    lines = [
        "# Hazards",
        "",
        "Made from the table of rules in `console/sql/hazards` by `pgferry lint --explain --format markdown`."
        " Every example is run by the tests.",
    ]
    for level, head in _HEADS.items():
        lines += ["", f"## {head}"]
        for rule in RULES.values():
            if rule.level is level:
                lines += ["", f"### {rule.code}", "", f"{rule.title}. {rule.why}", "", "Reported for:", ""]
                lines += ["```sql", rule.fires, "```", "", "Not reported for:", "", "```sql", rule.safe, "```"]
                lines += ["", f"Known from: {rule.source}."] if rule.source else []
    return "\n".join(lines) + "\n"
