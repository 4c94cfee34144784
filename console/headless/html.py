"""What every HTML report is made of: one page without any other resource, all text escaped, SQL in colours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

from console.headless.words import safe
from console.sql.highlight import tokens
from console.text import visible

_STYLE = """
:root { --ink: #1b1f24; --dim: #59636e; --line: #d1d9e0; --paper: #fff; --code: #f6f8fa; --bad: #b42318; --ok: #1a7f37;
  --warn: #8a5700; --key: #0550ae; --text: #0a3069; --number: #953800; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --dim: #9198a1; --line: #3d444d; --paper: #0d1117;
  --code: #151b23; --bad: #ff7b72; --ok: #56d364; --warn: #e3b341; --key: #79c0ff; --text: #a5d6ff; --number: #ffa657; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 78rem; padding: 1.5rem; color: var(--ink); background: var(--paper);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 1rem; } h2 { font-size: 1.25rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1.05rem; margin: 1.5rem 0 .25rem; } h4 { font-size: .95rem; margin: 1rem 0 .25rem; }
h2 { border-top: 1px solid var(--line); padding-top: .75rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid var(--line);
  overflow-wrap: break-word; }
.long { overflow-wrap: anywhere; min-width: 14rem; } .num { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
th { font-weight: 600; white-space: nowrap; } table.facts { table-layout: fixed; } table.facts th { width: 9rem; color: var(--dim); font-weight: 400; }
pre { background: var(--code); border: 1px solid var(--line); border-radius: 6px; padding: .6rem .8rem; margin: .4rem 0;
  white-space: pre-wrap; overflow-wrap: anywhere; font: 13px/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
code { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
ul { margin: .25rem 0; padding-left: 1.25rem; } a { color: var(--key); }
.dim { color: var(--dim); } .bad { color: var(--bad); font-weight: 600; } .ok { color: var(--ok); } .warn { color: var(--warn); }
.keyword { color: var(--key); } .string { color: var(--text); } .number { color: var(--number); }
.comment { color: var(--dim); font-style: italic; }
.hazard { border-left: 4px solid var(--bad); padding: .1rem .8rem; margin: .5rem 0; }
.hazard.note, .hazard.style { border-left-color: var(--warn); }
.statement { margin: .75rem 0 1.25rem; }
@media print { :root { --ink: #000; --paper: #fff; --code: #fff; --line: #999; --dim: #444; --key: #000; --text: #000;
  --number: #000; --bad: #000; --ok: #000; --warn: #000; }
  body { max-width: none; padding: 0; font-size: 9.5pt; } table { font-size: 8.5pt; } pre { font-size: 8.5pt; } a { color: inherit; text-decoration: none; }
  h1, h2, h3, h4 { break-after: avoid; } tr, .hazard { break-inside: avoid; } .keyword { font-weight: 700; } }
"""

_NAME = re.compile(r"[\w.]{21,}")
_MARK = re.compile(r"([_.])(?=\w)")
_LONG = 40  # characters; a longer word is broken, so that a table keeps to the page


def text(value: str) -> str:
    """Text as HTML shows it: nothing in it is markup."""
    return escape(safe(value))


def page(title: str, body: Iterable[str]) -> str:
    """A whole page."""
    head = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>"
    )
    return "\n".join([head, *body, "</body>", "</html>"]) + "\n"


def facts(entries: Iterable[tuple[str, str]]) -> str:
    """Names and values, one under the other; a name that comes again is not repeated."""
    rows, before = [], ""
    for name, value in entries:
        shown = "" if name == before else name
        rows.append(f'<tr><th scope="row">{text(shown)}</th><td{_tone(value)}>{text(value)}</td></tr>')
        before = name
    return f'<table class="facts">{"".join(rows)}</table>'


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = (), *, wide: bool = False
) -> list[str]:
    """A table, the columns in ``right`` set to the right; nothing for no rows. In a ``wide`` one long names may break."""
    shown = _breakable if wide else text

    def look(column: int, cell: str) -> str:
        """A number, bad news, or words so long that they have to be broken."""
        long = ' class="long"' if any(len(word) > _LONG for word in cell.split()) else ""
        return ' class="num"' if column in right else _tone(cell) or long

    body = [
        "<tr>" + "".join(f"<td{look(n, cell)}>{shown(cell)}</td>" for n, cell in enumerate(row)) + "</tr>"
        for row in rows
    ]
    if not body:
        return []
    names = "".join(f'<th scope="col"{look(n, "")}>{text(name)}</th>' for n, name in enumerate(head))
    return [f"<table><thead><tr>{names}</tr></thead><tbody>", *body, "</tbody></table>"]


def _breakable(value: str) -> str:
    """A cell's text, in which a long name may go on in the next line behind a mark: so a table keeps to the page."""
    return _NAME.sub(lambda name: _MARK.sub(r"\1<wbr>", name[0]), text(value))


def _tone(value: str) -> str:
    """Words that stand in capitals because they are bad news are also drawn so."""
    loud = ("NOT REHEARSED", "NONE:", "FAILED", "DIFFERS", "NOT UNDERSTOOD")
    return ' class="bad"' if value.startswith(loud) else ""


def sql(source: str) -> str:
    """SQL in colours, in the source's own lines."""
    shown = visible(source, keep_newlines=True)
    parts, at = [], 0
    for start, end, kind in tokens(shown):
        parts.append(escape(shown[at:start]))
        word = escape(shown[start:end])
        parts.append(f'<span class="{kind}">{word}</span>' if kind in _COLOURED else word)
        at = end
    return f"<pre>{''.join(parts)}{escape(shown[at:])}</pre>"


def code(source: str) -> str:
    """Lines as they are."""
    return f"<pre>{escape(visible(source, keep_newlines=True))}</pre>"


_COLOURED = frozenset({"keyword", "string", "number", "comment"})


def items(lines: Iterable[str]) -> str:
    """A list; nothing for no lines."""
    made = "".join(f"<li{_tone(line)}>{text(line)}</li>" for line in lines)
    return f"<ul>{made}</ul>" if made else ""
