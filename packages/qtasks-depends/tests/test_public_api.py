"""What this package exports is listed, and it lives by the public names of the core alone."""

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import qtasks_depends

FOLDER = Path(qtasks_depends.__file__).parent
PUBLIC = {
    "qtasks_depends": [
        "AsyncState",
        "Dependency",
        "DependencyError",
        "DependencyOpenError",
        "Depends",
        "ScopeEnum",
        "StateDeclarationError",
        "StateKeyError",
        "StateLockLostError",
        "StateTypeError",
        "SyncState",
    ],
    "qtasks_depends.state": [
        "AsyncState",
        "State",
        "StateDeclarationError",
        "StateKeyError",
        "StateLockLostError",
        "StateTypeError",
        "SyncState",
        "bound",
        "check_state",
        "state_class_of",
    ],
}
"""What users may import; a name more or less is a decision."""


def test_what_is_exported_is_listed() -> None:
    """And is there."""
    for name, expected in PUBLIC.items():
        module = importlib.import_module(name)
        assert expected == sorted(module.__all__) == list(module.__all__)
        assert all(hasattr(module, one) for one in expected)


def test_no_private_name_of_the_core_is_used() -> None:
    """Neither a module nor a name with an underscore, nor one that its module does not export."""
    imported = list(_imported())
    assert imported
    for file, module, name in imported:
        exported = importlib.import_module(module)
        is_module = name in {found.name for found in pkgutil.iter_modules(getattr(exported, "__path__", []))}
        where = f"{file} imports {name} from {module}"
        assert not any(part.startswith("_") for part in [*module.split("."), name]), where
        assert is_module or name in exported.__all__, where


def test_no_private_attribute_is_read_but_its_own() -> None:
    """What begins with an underscore is asked of `self`, of `cls`, or of an object of the same class."""
    found = [
        f"{path.name}:{node.lineno} {ast.unparse(node)}"
        for path in FOLDER.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and ast.unparse(node.value) not in {"self", "cls", "super()"}
    ]
    own = {"instance._other", "owner._of_key"}
    assert [] == [one for one in found if one.partition(" ")[2] not in own]


def _imported() -> Iterator[tuple[str, str, str]]:
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "qtasks_core":
                yield from ((path.name, str(node.module), alias.name) for alias in node.names)
