"""The words that the sources of the verdict use, read from them: signatures."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

VERDICT = Path(__file__).parents[1] / "sse_tap" / "verdict"
# What makes a signature, and the place of the signature among what it is given.
_MAKERS = {"Shape": 0, "Break": 0, "Answer": 0, "Change": 1, "Found": 2}


@cache
def signatures(*makers: str) -> frozenset[str]:
    """Every signature of a verdict that one of these (left out: anything) is made with."""
    wanted = makers or tuple(_MAKERS)
    return frozenset(word for name, word, noticed in _made() if name in wanted and noticed)


@cache
def unnoticed() -> frozenset[str]:
    """What a change is called that no client notices: it is a finding, and no verdict."""
    return frozenset(word for _, word, noticed in _made() if not noticed)


def _made() -> Iterator[tuple[str, str, bool]]:
    """What makes a signature, the signature, and whether it is one of a verdict."""
    trees = [ast.parse(path.read_bytes()) for path in sorted(VERDICT.glob("*.py"))]
    functions = [
        (node, tree) for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
    ]
    for function, tree in functions:
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            name = called(call)
            if len(call.args) > _MAKERS.get(name, len(call.args)):
                noticed = name != "Change" or ast.unparse(call.args[0]) != "None"
                for word in _words(call.args[_MAKERS[name]], function, tree, trees):
                    yield name, word, noticed


def _words(
    given: ast.expr, function: ast.FunctionDef, tree: ast.Module, trees: list[ast.Module]
) -> Iterator[str]:
    """The words that an expression may be: a constant, a name's values, what a function returns."""
    match given:
        case ast.Constant(value=str(word)):
            yield word
        case ast.Name(id=name):
            for value in _assigned(name, function):
                yield from _words(value, function, tree, trees)
        case ast.Call():
            yield from _returned(called(given), [tree])
        case ast.Attribute(attr="signature"):
            yield from _returned("signature", trees)
        case ast.IfExp(body=body, orelse=orelse):
            yield from _words(body, function, tree, trees)
            yield from _words(orelse, function, tree, trees)


def _assigned(name: str, function: ast.FunctionDef) -> Iterator[ast.expr]:
    """What a name, alone or in a tuple, is given in a function."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            targets = [part for target in node.targets for part in ast.walk(target)]
            if any(isinstance(part, ast.Name) and part.id == name for part in targets):
                yield node.value


def _returned(name: str, trees: list[ast.Module]) -> Iterator[str]:
    """Every string in what functions of that name return."""
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.FunctionDef) and node.name.strip("_") == name:
            values = [
                part for back in ast.walk(node) if isinstance(back, ast.Return) for part in ast.walk(back)
            ]
            yield from (v.value for v in values if isinstance(v, ast.Constant) and isinstance(v.value, str))


def called(node: ast.Call) -> str:
    """The last name of what is called."""
    return str(getattr(node.func, "attr", getattr(node.func, "id", ""))).strip("_")
