"""The rules between the parts of a plan: unique ids, known references, dependencies that can be met in order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from console.errors import PlanError
from console.plan.check_kinds import Latency, UnambiguousMapping
from console.plan.model import Check, Kind
from console.plan.source import Source, suggestion

Path = tuple[str | int, ...]
Placed = tuple[dict[str, Any], Path]  # a table of plan.toml and where it stands


def placed_tasks(source: Source) -> list[Placed]:
    """Every task with its place, in order."""
    return [
        (task, ("phase", p, "task", t))
        for p, phase in enumerate(source.data["phase"])
        for t, task in enumerate(phase["task"])
    ]


def check_ids(source: Source) -> None:
    """Raises PlanError when two mappings have one id, or two of the phases and tasks together."""
    phases = [(phase, ("phase", index)) for index, phase in enumerate(source.data["phase"])]
    mappings = [(mapping, ("mapping", index)) for index, mapping in enumerate(source.data.get("mapping", ()))]
    _check_unique(source, [("mapping", *entry) for entry in mappings])
    _check_unique(
        source,
        [("phase", *entry) for entry in phases] + [("task", *entry) for entry in placed_tasks(source)],
    )


def _check_unique(source: Source, entries: Iterable[tuple[str, dict[str, Any], Path]]) -> None:
    seen: dict[str, str] = {}
    for what, data, path in entries:
        if data["id"] in seen:
            raise source.fault(
                f"There is a {seen[data['id']]} {data['id']} already; this {what} has the same id.",
                *path,
                "id",
                do="Choose another id.",
            )
        seen[data["id"]] = what


def check_references(source: Source, checks: Sequence[Check]) -> None:
    """Raises PlanError when a task names a mapping or check that does not exist."""
    known = {
        "mappings": [mapping["id"] for mapping in source.data.get("mapping", ())],
        "checks": [check.id for check in checks],
        "guards": [check.id for check in checks],
    }
    for task, path in placed_tasks(source):
        for key, ids in known.items():
            what = "mapping" if key == "mappings" else "check"
            for index, name in enumerate(task.get(key, ())):
                if name not in ids:
                    raise source.fault(
                        f"Task {task['id']} names the {what} {name}, which the plan does not have.",
                        *path,
                        key,
                        index,
                        do=suggestion(name, ids, none=f"The plan has no {what}s at all."),
                    )


def check_phases(source: Source, checks: Sequence[Check], docs: Iterable[str], shown: dict[str, str]) -> None:
    """Raises PlanError when a phase names a page, or a check a phase, that does not exist."""
    pages = list(docs)
    phases = [phase["id"] for phase in source.data["phase"]]
    for index, phase in enumerate(source.data["phase"]):
        page = phase.get("doc", "")
        if page and page not in pages:
            raise source.fault(
                f"Phase {phase['id']} names the page {page}, which is not in the docs directory.",
                "phase",
                index,
                "doc",
                do=suggestion(page, pages, none="Set docs in [paths] and write the page."),
            )
    for check in checks:
        if check.phase and check.phase not in phases:
            raise PlanError(
                f"The check {check.id} names the phase {check.phase}, which the plan does not have.",
                file=shown[check.file],
                line=check.line,
                do=suggestion(check.phase, phases),
            )


def check_specs(source: Source, checks: Sequence[Check], shown: dict[str, str]) -> None:
    """Raises PlanError when a check of a kind names a mapping, a baseline or another check that does not exist."""
    mappings = [mapping["id"] for mapping in source.data.get("mapping", ())]
    latencies = {check.id: check.spec for check in checks if isinstance(check.spec, Latency)}
    recorded = [spec.record for spec in latencies.values() if spec.record]
    for check in checks:
        asked: list[tuple[str, str, Sequence[str]]] = []
        if isinstance(check.spec, UnambiguousMapping):
            asked.append(("mapping", check.spec.mapping, mappings))
        if isinstance(check.spec, Latency):
            asked.append(("baseline", check.spec.baseline, recorded))
            asked.append(("latency check", check.spec.beside, [id_ for id_ in latencies if id_ != check.id]))
        for what, name, known in asked:
            if name and name not in known:
                raise PlanError(
                    f"The check {check.id} names the {what} {name}, which the plan does not have.",
                    file=shown[check.file],
                    line=check.line,
                    do=suggestion(name, known, none=f"The plan has no {what}s at all."),
                )


def check_dependencies(source: Source) -> None:
    """Raises PlanError for an unknown dependency, a cycle, a later task, or a task that waits for a purge."""
    tasks = placed_tasks(source)
    order = {task["id"]: number for number, (task, _) in enumerate(tasks)}
    kinds = {task["id"]: task["kind"] for task, _ in tasks}
    for task, path in tasks:
        for index, name in enumerate(task.get("depends", ())):
            if name not in order:
                raise source.fault(
                    f"Task {task['id']} depends on {name}, which the plan does not have.",
                    *path,
                    "depends",
                    index,
                    do=suggestion(name, order),
                )
    _check_cycles(source, tasks)
    for task, path in tasks:
        for index, name in enumerate(task.get("depends", ())):
            place = (*path, "depends", index)
            if order[name] > order[task["id"]]:
                raise source.fault(
                    f"Task {task['id']} depends on {name}, which stands later in the plan.",
                    *place,
                    do=f"Tasks run in the order they stand; move {name} before {task['id']}.",
                )
            if kinds[name] == Kind.PURGE and task["kind"] != Kind.PURGE:
                raise source.fault(
                    f"Task {task['id']} depends on the purge {name}, which only runs when it is asked for by name.",
                    *place,
                    do="Depend on the task before the purge.",
                )


def _check_cycles(source: Source, tasks: list[Placed]) -> None:
    depends = {task["id"]: list(task.get("depends", ())) for task, _ in tasks}
    places = {task["id"]: path for task, path in tasks}
    finished: set[str] = set()
    for start in depends:
        cycle = _cycle(start, depends, finished)
        if cycle:
            at = depends[cycle[0]].index(cycle[1])
            raise source.fault(
                f"Tasks depend on each other in a circle: {' -> '.join(cycle)}.",
                *places[cycle[0]],
                "depends",
                at,
                do="Remove one of these dependencies.",
            )


def _cycle(start: str, depends: dict[str, list[str]], finished: set[str]) -> list[str]:
    """A circle of dependencies reachable from ``start``, its first id again at the end; empty when there is none."""
    trail: list[str] = []
    waiting: list[tuple[str, int]] = [(start, 0)]  # an explicit stack: a plan may be a very long chain
    while waiting:
        name, position = waiting.pop()
        if position == 0:
            if name in trail:
                return [*trail[trail.index(name) :], name]
            if name in finished:
                continue
            trail.append(name)
        if position < len(depends[name]):
            waiting += [(name, position + 1), (depends[name][position], 0)]
        else:
            finished.add(name)
            trail.pop()
    return []
