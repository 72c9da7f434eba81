"""What code may not do, beyond what the linter knows."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tests.guard.source import Module

MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
EMPTY_NAMES = frozenset({"utils", "util", "common", "helpers", "helper", "misc", "base", "shared", "tools"})

_COLLECTIONS = frozenset({"dict", "list", "set", "bytearray", "defaultdict", "deque", "Counter", "OrderedDict"})
_CONSTANT = re.compile(r"_?[A-Z][A-Z0-9_]*|__all__")
_MUTATING = frozenset(
    {"append", "extend", "insert", "remove", "pop", "popitem", "clear", "update", "setdefault", "add", "discard"}
    | {"appendleft", "popleft", "sort", "reverse", "__setitem__", "__delitem__"}
)
_SHELLS = frozenset({"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"})
_PURE = frozenset({"model", "query", "report"})
_IMPURE = frozenset(
    {"os", "io", "time", "pathlib", "random", "socket", "subprocess", "logging", "threading", "asyncio", "sqlite3"}
)


def sizes(module: Module) -> list[str]:
    """A module or a function that is too long."""
    found = []
    lines = len(module.text.splitlines())
    if lines > MODULE_LINES_MAX:
        found.append(f"{module.name}: {lines} lines, {MODULE_LINES_MAX} are allowed")
    for function in module.functions():
        length = (function.end_lineno or function.lineno) - function.lineno + 1
        if length > FUNCTION_LINES_MAX:
            found.append(f"{module.name}:{function.lineno}: {function.name} has {length} lines")
    return found


def names(module: Module) -> list[str]:
    """A module named after nothing."""
    return [f"{module.name}: is named after nothing" for part in module.name.split(".") if part in EMPTY_NAMES]


class Supervisor(NamedTuple):
    """How many handlers of everything a module may have, and why."""

    handlers: int
    reason: str


def broad_excepts(module: Module, allowed: Mapping[str, Supervisor]) -> list[str]:
    """Handlers of everything beyond those allowed. One that ends with a plain `raise` hides nothing."""
    lines = [
        handler.lineno
        for handler in module.nodes
        if isinstance(handler, ast.ExceptHandler) and _is_broad(handler) and not _raises_again(handler)
    ]
    if (supervisor := allowed.get(module.name)) is not None:
        told = f"{module.name}: has {len(lines)} handlers of everything, the table says {supervisor.handlers}"
        return [told] if len(lines) != supervisor.handlers else []
    return [f"{module.name}:{line}: a handler of everything" for line in lines]


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def _is_broad(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(isinstance(each, ast.Name) and each.id in {"Exception", "BaseException"} for each in caught)


def shells(module: Module) -> list[str]:
    """A command given to a shell, or started anywhere but where the observed machine's commands are run."""
    found = []
    for node in module.nodes:
        if isinstance(node, ast.Call):
            by_shell = any(
                word.arg == "shell" and not (isinstance(word.value, ast.Constant) and word.value.value is False)
                for word in node.keywords
            )
            if by_shell or ast.unparse(node.func) in _SHELLS:
                found.append(f"{module.name}:{node.lineno}: gives a command to a shell")
        if module.name != "jobmeter.observe.host" and "subprocess" in _imported(node):
            found.append(f"{module.name}:{getattr(node, 'lineno', 0)}: starts commands; observe.host does that")
    return found


def impurities(module: Module) -> list[str]:
    """An import by which a room of pure values and arithmetic would reach the outside."""
    if module.room not in _PURE:
        return []
    return [
        f"{module.name}:{getattr(node, 'lineno', 0)}: {module.room} imports {name}"
        for node in module.nodes
        for name in sorted(_imported(node) & _IMPURE)
    ]


def _imported(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name.split(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return {node.module.split(".")[0]}
    return set()


def mutable_state(module: Module) -> list[str]:
    """A collection bound at module level under a name that is no constant's, or a constant that is changed.

    Constants are written in capitals, with or without an underscore before, and nothing in the module changes them.
    """
    found = []
    constants = set()
    for name, value, line in _bindings(module.tree.body):
        if _CONSTANT.fullmatch(name):
            constants.add(name)
        elif _is_collection(value):
            found.append(f"{module.name}:{line}: {name} is a collection at module level, and no constant by its name")
    for node in module.nodes:
        if isinstance(node, ast.Global):
            found.append(f"{module.name}:{node.lineno}: rebinds {', '.join(node.names)} of the module")
        for changed in _changed(node) & constants:
            found.append(f"{module.name}:{getattr(node, 'lineno', 0)}: changes the constant {changed}")
    return found


def _bindings(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr, int]]:
    for statement in body:
        if isinstance(statement, ast.If | ast.Try):
            yield from _bindings(statement.body)
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name):
                    yield target.id, statement.value, statement.lineno
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            yield statement.target.id, statement.value, statement.lineno


def _is_collection(value: ast.expr) -> bool:
    if isinstance(value, ast.Dict | ast.List | ast.Set | ast.DictComp | ast.ListComp | ast.SetComp):
        return True
    return isinstance(value, ast.Call) and ast.unparse(value.func).split(".")[-1] in _COLLECTIONS


def _changed(node: ast.AST) -> set[str]:
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign | ast.Delete):
        targets = [each.value for each in node.targets if isinstance(each, ast.Subscript)]
    elif isinstance(node, ast.AugAssign):
        targets = [node.target.value if isinstance(node.target, ast.Subscript) else node.target]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _MUTATING:
        targets = [node.func.value]
    return {target.id for target in targets if isinstance(target, ast.Name)}
