"""Who may import what: the walls of the house. And each test mirrors a source."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest

from sse_tap.blocks import decoding
from tests.law import DESIGN, flow_picture, law

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sse_tap"
SOURCES = sorted((ROOT / "sse_tap").rglob("*.py"))
SOURCE_OF = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in SOURCES
}
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))

DOES_IO = frozenset(
    {
        *("asyncio", "concurrent", "http", "logging", "multiprocessing", "os", "pathlib", "queue", "random"),
        *("selectors", "shutil", "signal", "socket", "socketserver", "ssl", "subprocess", "tempfile"),
        *("threading", "time", "urllib.request"),
    }
)
# What people and other programs see of traces has no place in mitmproxy's process while it records.
SHOWING = frozenset({"cli", "demo", "exporting", "importing", "picture", "replay"})

# Sources without a test file of their own, and why.
WITHOUT_TEST = {
    "__init__.py": "holds the version and nothing else",
    "observe/facts.py": "plain records",
    "observe/__init__.py": "names what the observers offer, who are tested",
    "recording/desk.py": "what the recorder and its exchanges share, who are tested",
    "replay/app.py": "what the server's connections share, tested through the server",
    "sse.py": "a re-export",
    "verdict/finding.py": "plain records, tested with what fills them",
    "verdict/thresholds.py": "constants",
    "verdict/verdicts.py": "words, held against the documents",
    "tap/script.py": "loaded by mitmproxy in test_startup",
    "__main__.py": "one line",
}
# Folders of tests about real proxies, clients and connections, not about one source.
ABOUT_THE_WHOLE = ("fuzz", "matrix", "stack", "transparency")
# Test files without a source of their own name.
WITHOUT_SOURCE = {
    "test_children.py": "about every command that a source starts",
    "test_docs.py": "about the Markdown files and recordings/",
    "test_import_law.py": "about all sources",
    "test_loops.py": "about the Makefile",
    "test_packaging.py": "about hatch_build.py and pyproject.toml",
    "test_startup.py": "sse_tap/_startup.py",
    "verdict/test_reports.py": "about the cases in data/reports",
}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def wing_of(path: Path) -> str:
    """The wing a source stands in: its folder or file below sse_tap, without .py."""
    return path.relative_to(ROOT / "sse_tap").parts[0].removesuffix(".py")


def core() -> list[Path]:
    """The sources whose values must not depend on a clock, a file or a socket."""
    return [path for path in SOURCES if _is_core(path)]


def _is_core(path: Path) -> bool:
    return path != PACKAGE / "__init__.py" and not law()[wing_of(path)].does_io & {"all", path.stem}


def imports(path: Path) -> Iterator[str]:
    """Every module a source names in an import, anywhere in it; `from a import b` gives a and a.b."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)}:{node.lineno}: import by the full name"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and _calls(node, "import_module", "__import__"):
            yield from (str(arg.value) for arg in node.args[:1] if isinstance(arg, ast.Constant))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), filename=str(path))


def _calls(node: ast.Call, *names: str) -> bool:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name in names


def top_levels(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


def own_wings(path: Path) -> set[str]:
    """The wings that a source imports."""
    names = (name.split(".") for name in imports(path))
    return {
        name[1] for name in names if name[0] == "sse_tap" and len(name) > 1 and not name[1].startswith("__")
    }


def modules_of(distributions: Iterable[str]) -> set[str]:
    wanted = {re.sub(r"[-_.]+", "-", name).lower() for name in distributions}
    found = packages_distributions().items()
    return {
        module for module, owners in found if wanted & {re.sub(r"[-_.]+", "-", o).lower() for o in owners}
    }


def dependencies_of(distribution: str) -> set[str]:
    """A distribution's requirements and theirs in turn, by name, as far as installed; extras left out."""
    found: set[str] = set()
    waiting = [distribution]
    while waiting:
        with suppress(PackageNotFoundError):
            wanted = (text for text in requires(waiting.pop()) or () if "extra ==" not in text)
            fresh = {re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in wanted} - found
            found |= fresh
            waiting += fresh
    return found


def recording() -> list[Path]:
    """What runs in mitmproxy's process while it records: all that the addon's script reaches."""
    waiting = [ROOT / "sse_tap" / "tap" / "script.py", ROOT / "sse_tap" / "_startup.py"]
    found: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += (SOURCE_OF[name] for name in imports(path) if name in SOURCE_OF)
    return sorted(found)


def offenders(paths: Iterable[Path], forbidden: frozenset[str]) -> list[str]:
    return [f"{relative(path)}: {bad}" for path in paths for bad in sorted(set(imports(path)) & forbidden)]


def users_of(package: str) -> list[Path]:
    return [path for path in SOURCES if package in top_levels(path)]


def test_the_walk_sees_the_sources() -> None:
    assert {wing_of(path) for path in SOURCES} >= {"sse", "tap", "trace", "cli"}
    assert "mitmproxy" not in top_levels(PACKAGE / "sse.py")
    assert {"re", "unicodedata"} <= top_levels(PACKAGE / "util" / "text.py")
    assert {path.name for path in core()} >= {"judge.py", "redact.py", "text.py"}
    assert not {path.name for path in core()} & {"file.py", "ports.py", "recorder.py"}


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("mitmproxy", ("tap",)),
        ("click", ("cli",)),
        ("rich", ("cli", "demo", "picture")),
        ("pytest", ("pytest_plugin",)),
    ],
)
def test_a_package_is_imported_only_where_it_belongs(package: str, allowed: tuple[str, ...]) -> None:
    assert [relative(path) for path in users_of(package) if wing_of(path) not in allowed] == []


def test_the_core_does_no_input_or_output_and_has_no_clock() -> None:
    assert offenders(core(), DOES_IO) == []


def test_the_core_neither_prints_nor_opens() -> None:
    calls = [
        f"{relative(path)}:{node.lineno}"
        for path in core()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("print", "open")
    ]
    assert calls == []


def test_every_wing_uses_what_the_table_says_and_nothing_else() -> None:
    found = {wing: set[str]() for wing in law()}
    for path in SOURCES:
        if path != PACKAGE / "__init__.py":
            found[wing_of(path)] |= own_wings(path) - {wing_of(path)}
    assert found == {wing: set(row.uses) for wing, row in law().items()}


def test_no_two_modules_import_each_other_however_far_around() -> None:
    imported = {path: {SOURCE_OF[name] for name in imports(path) if name in SOURCE_OF} for path in SOURCES}

    def reached(start: Path) -> set[Path]:
        waiting, found = [start], set[Path]()
        while waiting:
            new = imported[waiting.pop()] - found
            found |= new
            waiting += new
        return found

    inits = {path for path in SOURCES if path.name == "__init__.py"}  # run before what is below them
    circles = [relative(path) for path in SOURCES if path not in inits and path in reached(path)]
    assert circles == []


def test_what_does_no_io_uses_only_what_does_none() -> None:
    calm = {path for path in core() if path.name != "__init__.py"}  # which may be a face of all below it
    uses = {f"{relative(path)}: {name}" for path in calm for name in imports(path) if name in SOURCE_OF}
    doing = {path for path in SOURCES if not _is_core(path) and path.name != "__init__.py"}
    assert {use for use in uses if SOURCE_OF[use.partition(": ")[2]] in doing} == set()


def test_the_parsers_public_face_brings_nothing_heavy() -> None:
    say = "import sys; before = set(sys.modules); import sse_tap.sse; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", say], cwd=ROOT, capture_output=True, text=True, check=True)
    brought = {name.partition(".")[0] for name in done.stdout.split()}
    assert "sse_tap" in brought
    assert brought & {"mitmproxy", "rich", "click", "asyncio"} == set()


def test_the_picture_is_drawn_from_the_table() -> None:
    """Beside the table; `python -m tests.snapshots` draws it anew."""
    assert flow_picture({wing: row.uses for wing, row in law().items()}) in DESIGN.read_text("utf-8")


def test_recording_needs_nothing_beyond_what_mitmproxy_brings() -> None:
    allowed = sys.stdlib_module_names | modules_of({"mitmproxy", *dependencies_of("mitmproxy")}) | {"sse_tap"}
    found = {f"{relative(path)}: {name}" for path in recording() for name in top_levels(path) - allowed}
    assert found == {"sse_tap/usage.py: psutil"}, "loaded where something is watched, and not otherwise"
    loaded = "import sys, sse_tap.tap.addon, sse_tap.scribe; print('psutil' in sys.modules)"
    command = [sys.executable, "-c", loaded]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "False\n"


def test_zstd_is_brought_by_mitmproxy_or_python() -> None:
    """`decoding` imports by name, in a table, which the walk over the sources does not see."""
    brought = sys.stdlib_module_names | modules_of(dependencies_of("mitmproxy"))
    libraries = {name: name.partition(".")[0] for name in decoding._ZSTD_LIBRARIES}
    assert set(libraries.values()) & brought
    assert set(libraries) == {"compression.zstd", "backports.zstd", "zstandard"}


def test_a_module_is_imported_by_a_name_that_is_computed_only_where_it_is_known() -> None:
    computed = {
        relative(path)
        for path in SOURCES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call)
        and _calls(node, "import_module", "__import__")
        and not isinstance(node.args[0], ast.Constant)
    }
    assert computed == {"sse_tap/cli/__init__.py", "sse_tap/blocks/decoding.py"}


def test_recording_reaches_the_parsers_and_nothing_that_shows_them() -> None:
    wings = {wing_of(path) for path in recording()}
    assert wings >= {"observe", "trace", "tap"}
    assert wings & SHOWING == set()
    assert set(law()) >= SHOWING


def test_every_import_is_declared() -> None:
    # Only pytest imports the pytest plugin.
    allowed = sys.stdlib_module_names | modules_of(dependencies_of("sse-tap")) | {"sse_tap", "pytest"}
    assert {f"{relative(path)}: {name}" for path in SOURCES for name in top_levels(path) - allowed} == set()


def test_only_the_command_line_and_the_demo_use_the_command_line() -> None:
    users = [relative(path) for path in SOURCES if "cli" in own_wings(path) and wing_of(path) != "cli"]
    assert [path for path in users if path != "sse_tap/__main__.py"] == []


def test_no_module_beside_the_addon_script_hides_another() -> None:
    """mitmproxy puts a script's folder first on sys.path while it loads it."""
    names = {path.stem for path in (ROOT / "sse_tap" / "tap").glob("*.py")}
    assert names & (sys.stdlib_module_names | set(packages_distributions())) == set()


def _is_plain_init(path: Path) -> bool:
    """An `__init__.py` that defines nothing."""
    body = parsed(path).body
    return path.name == "__init__.py" and not any(isinstance(n, ast.FunctionDef | ast.ClassDef) for n in body)


def mirror_of(path: Path) -> str:
    """`observe/http1.py` has `observe/test_http1.py`, `cli/__init__.py` has `cli/test_init.py`."""
    folder, _, file = path.relative_to(ROOT / "sse_tap").as_posix().rpartition("/")
    return f"{folder}/test_{file.replace('__', '').lstrip('_')}".lstrip("/")


def test_each_source_has_its_test_or_a_reason() -> None:
    tests = {path.relative_to(ROOT / "tests").as_posix() for path in TESTS}
    excused = {ROOT / "sse_tap" / name for name in WITHOUT_TEST}
    tested = [path for path in SOURCES if path not in excused and not _is_plain_init(path)]
    assert [mirror_of(path) for path in tested if mirror_of(path) not in tests] == []


def test_each_test_has_its_source_or_a_reason() -> None:
    tests = [path.relative_to(ROOT / "tests") for path in TESTS]
    names = {path.as_posix() for path in tests if path.parts[0] not in ABOUT_THE_WHOLE}
    assert names - {mirror_of(path) for path in SOURCES} - set(WITHOUT_SOURCE) == set()


def test_the_lists_of_exceptions_name_what_exists() -> None:
    listed = [
        *(ROOT / "sse_tap" / name for name in WITHOUT_TEST),
        *(ROOT / "tests" / name for name in WITHOUT_SOURCE),
    ]
    assert [path for path in listed if not path.exists()] == []


def test_no_source_is_excused_that_has_its_test() -> None:
    tests = {path.relative_to(ROOT / "tests").as_posix() for path in TESTS}
    assert [name for name in WITHOUT_TEST if mirror_of(ROOT / "sse_tap" / name) in tests] == []
