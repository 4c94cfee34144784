"""Reads a plan directory into a Plan, or says in one sentence what is wrong with it and where."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

from console.errors import PlanError
from console.plan.build import build_mapping, build_task, check_name
from console.plan.checks import duplicate, program_check, sql_checks
from console.plan.digest import plan_sha256
from console.plan.files import leaves, python_files, read_source
from console.plan.formats.assemble import read_migrations
from console.plan.mapping_rules import check_mapping
from console.plan.model import Check, Demo, Doc, Phase, Plan, SourceFile, Task
from console.plan.rules import check_dependencies, check_ids, check_phases, check_references, check_specs
from console.plan.shape import check_shape
from console.plan.source import NAME, Source

_HEADING = re.compile(r"^#\s+(.+?)\s*#*\s*$", re.MULTILINE)
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_DOWN = ".down.sql"

Place = tuple[str | int, ...]


def load_plan(directory: Path, layout: str = "") -> Plan:
    """The plan in ``directory``, complete and consistent. Raises PlanError with file and line where there is one.

    Without a plan.toml, or with the name of a ``layout``, it is read as a directory of another tool's migrations.
    """
    if not directory.is_dir():
        what = "is not a directory" if directory.exists() else "does not exist"
        raise PlanError(
            f"The plan directory {directory} {what}.", do="Name a directory with a plan.toml or migrations."
        )
    file = directory / NAME
    if layout or not file.is_file():
        return read_migrations(directory, layout)
    return _Loader(directory, read_source(file, str(file), NAME)).plan()


class _Loader:
    """One reading of a plan directory; gathers every file it touches."""

    def __init__(self, directory: Path, toml: SourceFile) -> None:
        self.directory = directory
        self.root = directory.resolve()
        self.source = Source(directory / NAME, toml.text)
        self.files: dict[str, SourceFile] = {NAME: toml}

    def plan(self) -> Plan:
        source = self.source
        check_shape(source)
        check_ids(source)
        data = source.data
        defaults = data.get("defaults", {})
        schema = defaults.get("schema", "public")
        archive = defaults.get("archive_schema", "pgferry_archive")
        for key, name in (("schema", schema), ("archive_schema", archive)):
            check_name(source, name, ("defaults", key))
        mappings = []
        for index, entry in enumerate(data.get("mapping", ())):
            mappings.append(build_mapping(source, entry, schema, ("mapping", index)))
            check_mapping(source, mappings[-1], ("mapping", index))
        check_dependencies(source)
        checks = self._checks()
        docs = self._docs()
        check_references(source, checks)
        shown = {path: str(self.directory / path) for path in self.files}
        check_phases(source, checks, (doc.name for doc in docs), shown)
        check_specs(source, checks, shown)
        phases = tuple(self._phase(entry, index, defaults) for index, entry in enumerate(data["phase"]))
        oldest, newest = self._servers()
        baseline = self._optional("paths", "baseline")
        demo = self._demo()
        self._programs(self.directory, "")
        files = tuple(self.files[path] for path in sorted(self.files))
        return Plan(
            id=data["id"],
            title=data["title"],
            root=self.root,
            server_min=oldest,
            server_max=newest,
            archive_schema=archive,
            baseline=baseline,
            phases=phases,
            mappings=tuple(mappings),
            checks=checks,
            docs=docs,
            demo=demo,
            files=files,
            sha256=plan_sha256(files),
            approvals=data.get("approvals", 0),
        )

    def _servers(self) -> tuple[int, int]:
        server = self.source.data.get("server", {})
        oldest, newest = server.get("min", 13), server.get("max", 18)
        if oldest > newest:
            raise self.source.fault(
                f"The oldest server version {oldest} is above the newest {newest}.", "server", do="Swap min and max."
            )
        return oldest, newest

    def _read(self, path: str, place: Place) -> SourceFile:
        """The file that the key at ``place`` names."""
        name = self._inside(path, place)
        if name in self.files:
            return self.files[name]
        file = self.directory / name
        if not file.is_file():
            raise self.source.fault(
                f"The file {path} does not exist in the plan directory.", *place, do="Write it, or correct the name."
            )
        return self._keep(file, name)

    def _keep(self, file: Path, name: str) -> SourceFile:
        if name not in self.files:
            self.files[name] = read_source(file, str(file), name)
        return self.files[name]

    def _inside(self, path: str, place: Place, *, sibling: bool = False) -> str:
        if leaves(self.root, path, sibling=sibling):
            beside = " or directly beside it" if sibling else ""
            raise self.source.fault(
                f"The path {path} leaves the plan directory.", *place, do=f"Keep it inside{beside}, as a relative path."
            )
        return PurePosixPath(path).as_posix()

    def _optional(self, table: str, key: str) -> SourceFile | None:
        path = self.source.data.get(table, {}).get(key)
        return None if path is None else self._read(path, (table, key))

    def _phase(self, data: dict[str, Any], index: int, defaults: dict[str, Any]) -> Phase:
        tasks = tuple(
            self._task(entry, data["id"], defaults, ("phase", index, "task", number))
            for number, entry in enumerate(data["task"])
        )
        words = {key: data.get(key, "") for key in ("risk", "schedule", "goal", "doc")}
        return Phase(id=data["id"], title=data["title"], tasks=tasks, **words)

    def _task(self, data: dict[str, Any], phase: str, defaults: dict[str, Any], place: Place) -> Task:
        if "file" not in data:
            return build_task(data, phase, defaults, None, None)
        path = data["file"]
        if not path.endswith(".sql") or path.endswith(_DOWN):
            raise self.source.fault(
                f"{path} is no name for the SQL of a task.",
                *place,
                "file",
                do=f"Use NAME.sql, and NAME{_DOWN} for back.",
            )
        file = self._read(path, (*place, "file"))
        return build_task(data, phase, defaults, file, self._down(data, path, place))

    def _down(self, data: dict[str, Any], path: str, place: Place) -> SourceFile | None:
        """The way back of an SQL task: beside its file, or none with a reason, never both or neither."""
        down = path.removesuffix(".sql") + _DOWN
        exists = (self.directory / down).is_file()
        if "irreversible" in data:
            if exists:
                raise self.source.fault(
                    f"Task {data['id']} is irreversible, yet its way back {down} exists.",
                    *place,
                    "irreversible",
                    do="Remove one of them.",
                )
            return None
        if not exists:
            raise self.source.fault(
                f"Task {data['id']} has no way back: {down} does not exist.",
                *place,
                "file",
                do="Write it, or say why there is none with irreversible.",
            )
        return self._read(down, (*place, "file"))

    def _directory(self, key: str, *, sibling: bool = False) -> str | None:
        """The directory that ``key`` of [paths] names, as a relative path; None when it is not set."""
        path = self.source.data.get("paths", {}).get(key)
        if path is None:
            return None
        name = self._inside(path, ("paths", key), sibling=sibling)
        if not (self.directory / name).is_dir():
            raise self.source.fault(
                f"The directory {path} does not exist.", "paths", key, do="Make it, or correct the name."
            )
        return name

    def _checks(self) -> tuple[Check, ...]:
        name = self._directory("checks", sibling=True)
        if name is None:
            return ()
        found: list[Check] = []
        directory = self.directory / name
        for file in sorted(path for path in directory.iterdir() if path.suffix in (".sql", ".py")):
            kept = self._keep(file, f"{name}/{file.name}")
            if file.suffix == ".sql":
                found += sql_checks(kept, str(file))
            elif (check := program_check(kept, str(file))) is not None:
                found.append(check)
        twice = duplicate(found)
        if twice is not None:
            first, second = twice
            raise PlanError(
                f"There is a check {second.id} already, at {self.directory / first.file}:{first.line}.",
                file=str(self.directory / second.file),
                line=second.line,
                do="Choose another id.",
            )
        self._programs(directory, name + "/")
        return tuple(found)

    def _docs(self) -> tuple[Doc, ...]:
        name = self._directory("docs")
        if name is None:
            return ()
        pages = []
        for file in sorted((self.directory / name).glob("*.md")):
            text = self._keep(file, f"{name}/{file.name}").text
            heading = _HEADING.search(text)
            pages.append(Doc(name=file.stem, title=heading.group(1) if heading else file.stem, text=text))
        return tuple(pages)

    def _demo(self) -> Demo | None:
        demo = self.source.data.get("demo")
        if demo is None:
            return None
        module = demo["traffic"]
        path = module.replace(".", "/")
        places = (f"{path}.py", f"{path}/__init__.py")
        if not _MODULE.fullmatch(module) or not any((self.directory / place).is_file() for place in places):
            raise self.source.fault(
                f"The module {module} does not exist in the plan directory.", "demo", "traffic", do=f"Write {path}.py."
            )
        return Demo(generate=self._read(demo["generate"], ("demo", "generate")), traffic=module)

    def _programs(self, directory: Path, prefix: str) -> None:
        """Programs may import any module beside them, so all of them belong to the plan."""
        for file in python_files(directory):
            self._keep(file, prefix + file.relative_to(directory).as_posix())
