"""What a params file in Python says, by DVC's rules (``dvc/utils/serialize/_py.py``): it is read, and not run.

Its assignments of literals count, a class's below its name, and those to ``self`` in an ``__init__``.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any


def parsed(text: str) -> dict[str, Any]:
    """Name -> value. Raises ValueError where it is no Python."""
    try:
        tree = ast.parse(text)
    except SyntaxError as exc:
        raise ValueError(str(exc)) from exc
    return _values(tree.body, of_self=False)


def _values(body: Sequence[ast.stmt], *, of_self: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for statement in body:
        if isinstance(statement, ast.ClassDef):
            found[statement.name] = _values(statement.body, of_self=False)
        elif isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            found.update(_values(statement.body, of_self=True))
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            found.update(_assigned(statement, of_self))
    return found


def _assigned(statement: ast.Assign | ast.AnnAssign, of_self: bool) -> dict[str, Any]:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    name = _name(targets[0], of_self) if len(targets) == 1 else None
    if name is None or statement.value is None:
        return {}
    try:
        return {name: ast.literal_eval(statement.value)}
    except ValueError:  # it is computed
        return {}


def _name(target: ast.expr, of_self: bool) -> str | None:
    if isinstance(target, ast.Name):
        return None if of_self else target.id
    if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
        return target.attr
    return None
