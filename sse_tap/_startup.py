"""What lets `mitmdump -s sse_tap` work: one name that mitmproxy's `-s` does not know by itself.

mitmproxy's `-s` takes only a file (`os.path.isfile` in `mitmproxy.addons.script.Script`), and nothing
of ours has been imported by the time it looks. So the wheel puts `_startup.pth` into site-packages,
where Python runs it at every start (library reference, `site`). Its one line does nothing unless
"mitm" stands in the command line, and then calls `install()` here, which waits for mitmproxy to
import its script module and teaches it that the script `sse_tap` is this package's own file.

This module runs before the program it serves: it imports next to nothing, and nothing in it may raise.
Should mitmproxy change shape it leaves mitmproxy alone, with a hint where the name was asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

NAME = "sse_tap"
SCRIPT = __file__.removesuffix("_startup.py") + "tap/script.py"
PROGRAMS = ("mitmdump", "mitmproxy", "mitmweb")
MODULE = "mitmproxy.addons.script"

_HINT = f"sse-tap: this mitmproxy does not take the script name {NAME}; use -s {SCRIPT}\n"
_OPTIONS_WITH_VALUE = ("-W", "-X", "--check-hash-based-pycs")


def install() -> None:
    """Teach mitmproxy the script name `sse_tap` once it loads, where this program is one of its own."""
    if is_mitmproxy(sys.orig_argv) and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def is_mitmproxy(orig_argv: Sequence[str]) -> bool:
    """Whether a command line (as in `sys.orig_argv`) runs one of mitmproxy's programs."""
    program = _program(orig_argv)
    stem = program.replace("\\", "/").rpartition("/")[2].removesuffix(".exe")
    return stem in PROGRAMS or program.startswith("mitmproxy.")


def _program(orig_argv: Sequence[str]) -> str:
    """The script, or the module after -m, that the interpreter was told to run; "" where there is none."""
    words = iter(orig_argv[1:])
    for word in words:
        if word in _OPTIONS_WITH_VALUE:
            next(words, None)
        elif word == "-m":
            return next(words, "")
        elif word == "-c" or not word.startswith("-"):
            return "" if word == "-c" else word
    return ""


class _Finder:
    """Finds mitmproxy's script module once, as Python would, and has it taught after it is loaded."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != MODULE:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
        return spec


class _Loader:
    """The module's own loader, with a lesson after the module's code has run."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        if not teach(module) and any(NAME in word for word in sys.orig_argv):
            sys.stderr.write(_HINT)


def teach(module: ModuleType) -> bool:
    """Make `Script("sse_tap", ...)` of mitmproxy's script module load SCRIPT; False: not its known shape."""
    script: Any = getattr(module, "Script", None)
    original: Any = getattr(script, "__init__", None)
    code = getattr(original, "__code__", None)
    if code is None or code.co_varnames[: code.co_argcount] != ("self", "path", "reload"):
        return False

    def init(self: Any, path: str, reload: bool) -> None:
        if path.strip("'\" ") != NAME:
            original(self, path, reload)
            return
        original(self, SCRIPT, reload)
        # ScriptLoader.configure recognises a loaded script by the path it was asked for.
        self.path = path

    script.__init__ = init
    return True
