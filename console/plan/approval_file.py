"""Approvals in a file beside the plan, ``approvals.jsonl``: one JSON object a line, fit for version control.

The plan's digest does not cover it: it names the digest. Whoever can write the file can write any name into it.
"""

from __future__ import annotations

import fcntl
import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

from console.errors import PlanError
from console.plan.approval import FILE, Approval
from console.plan.model import Plan

NAME = "approvals.jsonl"
FORMAT = 1
SHORT = 16  # digits kept of each file's digest: enough to say which files changed


def read(root: Path) -> tuple[Approval, ...]:
    """Every record of the file in ``root``, none where there is no file. Raises PlanError with the line at fault."""
    return tuple(_record(data, path, line) for path, line, data in _lines(root))


def file_digests(root: Path, sha256: str) -> dict[str, str]:
    """Path and (shortened) digest of each file of the version ``sha256``, as its approval noted them; else empty."""
    for _, _, data in _lines(root):
        files = data.get("files")
        if data.get("sha256") == sha256 and isinstance(files, dict):
            return {str(path): str(digest) for path, digest in files.items()}
    return {}


def append(plan: Plan, record: Approval) -> Path:
    """Add a line for ``record``; two people may do so at once. Returns the file. Raises PlanError, OSError."""
    read(plan.root)  # a file that cannot be read is mended first
    path = plan.root / NAME
    data: dict[str, Any] = {
        "format": FORMAT,
        "what": "withdraw" if record.withdraws else "approve",
        "plan": record.plan_id,
        "sha256": record.sha256,
        "by": record.name,
        "at": record.at.isoformat(timespec="seconds"),
        "comment": record.comment,
    }
    if not record.withdraws:
        data["files"] = {file.path: file.sha256[:SHORT] for file in plan.files}
    text = json.dumps(data, ensure_ascii=False) + "\n"
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0, os.SEEK_END)
        if file.tell():
            file.seek(-1, os.SEEK_END)
            text = text if file.read(1) == b"\n" else "\n" + text  # an editor left the last line open
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    return path


def _lines(root: Path) -> list[tuple[str, int, dict[str, Any]]]:
    path = root / NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise PlanError(f"The approvals cannot be read: {error.strerror or error}.", file=str(path)) from None
    except UnicodeDecodeError:
        raise PlanError("The approvals are not UTF-8 text.", file=str(path), do=_RESTORE) from None
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            data = json.loads(line)
        except ValueError:
            raise PlanError("This line is no approval.", file=str(path), line=number, do=_RESTORE) from None
        if not isinstance(data, dict):
            raise PlanError("This line is no approval.", file=str(path), line=number, do=_RESTORE)
        if data.get("format") != FORMAT:
            known = f"this pgferry knows format {FORMAT}"
            raise PlanError(
                f"This approval is of format {data.get('format', '(none)')}; {known}.", file=str(path), line=number,
                do="Use the pgferry that wrote it.",
            )  # fmt: skip
        found.append((str(path), number, data))
    return found


_RESTORE = "Mend or remove it; the other approvals stand."


def _record(data: dict[str, Any], path: str, line: int) -> Approval:
    texts = [data.get(key) for key in ("what", "plan", "sha256", "by", "at")]
    if not all(isinstance(text, str) and text for text in texts):
        raise PlanError("what, plan, sha256, by and at must be texts.", file=path, line=line, do=_RESTORE)
    what, plan_id, sha256, name, at = (str(text) for text in texts)
    if what not in ("approve", "withdraw"):
        raise PlanError(f"what cannot be {what!r}.", file=path, line=line, do=_RESTORE)
    try:
        when = datetime.fromisoformat(at)
    except ValueError:
        raise PlanError(f"{at!r} is no time.", file=path, line=line, do=_RESTORE) from None
    if when.tzinfo is None:
        raise PlanError(f"The time {at} has no zone.", file=path, line=line, do=_RESTORE)
    return Approval(plan_id, sha256, name, when, str(data.get("comment") or ""), what == "withdraw", "", FILE)
