"""The packages agree with each other, with what is installed, and with the rules of the house."""

import ast
import importlib
import os
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution, packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
MAX_LINES = 500
# Not in hatch.toml's matrix `alone`: two are in each of its environments, and the meta distribution needs all others.
NOT_ALONE = {"qtasks", "qtasks-core", "qtasks-testing"}
OTHER_EXTRAS = {"reload", "uvloop"}  # extras of the meta distribution that are no package
# Declared for what they do once installed: no module imports them.
NEVER_IMPORTED = {"qtasks": {"qtasks-sqlite"}}


class Package:
    """One folder of packages/ and what its pyproject.toml says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.document = _toml(folder / "pyproject.toml")
        self.project: dict[str, Any] = self.document["project"]
        self.name: str = self.project["name"]
        self.module = self.name.replace("-", "_")
        self.source = folder / "src" / self.module
        self.dependencies = [Requirement(text) for text in self.project["dependencies"]]
        self.extras = {
            extra: [Requirement(text) for text in texts]
            for extra, texts in self.project.get("optional-dependencies", {}).items()
        }

    @property
    def entry_points(self) -> set[tuple[str, str, str]]:
        """Group, name and value of each."""
        groups = {"console_scripts": self.project.get("scripts", {}), **self.project.get("entry-points", {})}
        return {(group, name, value) for group, entries in groups.items() for name, value in entries.items()}

    @property
    def components(self) -> set[str]:
        """URL schemes that it serves."""
        groups = {"qtasks.brokers", "qtasks.storages", "qtasks.global_configs"}
        return {name.replace(".", "+") for group, name, _ in self.entry_points if group in groups}


def _toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


PACKAGES = {folder.name: Package(folder) for folder in sorted((ROOT / "packages").iterdir()) if folder.is_dir()}
META, CORE = PACKAGES["qtasks"], PACKAGES["qtasks-core"]
PLUGINS = [package for package in PACKAGES.values() if package not in (META, CORE)]

each_package = pytest.mark.parametrize("package", PACKAGES.values(), ids=PACKAGES)
each_plugin = pytest.mark.parametrize("package", PLUGINS, ids=lambda package: package.name)


def _modules(*patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file())


# ---------------------------------------------------------------- names and versions


@each_package
def test_directory_distribution_and_import_package_have_one_name(package: Package) -> None:
    """packages/qtasks-x is the distribution qtasks-x and is imported as qtasks_x, which its wheel holds."""
    assert package.folder.name == package.name
    assert {package.module} == {path.name for path in (package.folder / "src").iterdir() if path.is_dir()}
    assert [f"src/{package.module}"] == package.document["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]


@each_package
def test_all_packages_share_what_is_the_same_for_all(package: Package) -> None:
    """Version, supported Pythons, licence, authors, keywords and classifiers are those of the core."""
    shared = ("version", "requires-python", "license", "license-files", "authors", "keywords", "classifiers")
    assert {key: CORE.project[key] for key in shared} == {key: package.project[key] for key in shared}


@each_package
def test_the_tree_is_what_is_installed(package: Package) -> None:
    """Tests run against this tree in this version, never against a release from the index."""
    assert CORE.project["version"] == distribution(package.name).version, "reinstall, or `hatch env prune`"
    imported = importlib.import_module(package.module)
    assert [str(package.source)] == list(imported.__path__)


def test_tools_check_for_the_oldest_supported_python() -> None:
    """The requirement of the packages is the target of ruff and mypy."""
    tools = _toml(ROOT / "pyproject.toml")["tool"]
    oldest = CORE.project["requires-python"].removeprefix(">=")
    assert "py" + oldest.replace(".", "") == tools["ruff"]["target-version"]
    assert oldest == tools["mypy"]["python_version"]


# ---------------------------------------------------------------- pins, extras, hints


@each_plugin
def test_plugins_work_with_every_core_of_their_major_version(package: Package) -> None:
    """A plugin needs the core in X.Y or newer, below the next major version, and no other package of the project."""
    major, minor, _ = CORE.project["version"].split(".")
    own = [requirement for requirement in package.dependencies if canonicalize_name(requirement.name) in PACKAGES]
    assert [Requirement(f"qtasks-core>={major}.{minor},<{int(major) + 1}")] == own


def test_the_meta_distribution_pins_this_very_version() -> None:
    """Whatever `qtasks` or an extra of it brings from this project is of its own version."""
    version = META.project["version"]
    wanted = [*META.dependencies, *(requirement for extra in META.extras.values() for requirement in extra)]
    assert {f"=={version}"} == {str(requirement.specifier) for requirement in wanted}
    assert {"qtasks-core", "qtasks-sqlite"} == {requirement.name for requirement in META.dependencies}


def test_extras_of_the_meta_distribution_are_the_packages() -> None:
    """`qtasks[x]` brings qtasks-x; extras that are no package are known by name, and are the core's own."""
    packages = {package.name.removeprefix("qtasks-"): package.name for package in PLUGINS}
    assert packages.keys() | OTHER_EXTRAS == META.extras.keys()
    brought = {extra: [one.name for one in META.extras[extra]] for extra in packages}
    assert {extra: [name] for extra, name in packages.items()} == brought
    for extra in OTHER_EXTRAS:
        assert [("qtasks-core", {extra})] == [(one.name, one.extras) for one in META.extras[extra]]
        assert extra in CORE.extras


def test_install_hints_name_the_extra_that_brings_the_scheme() -> None:
    """The core's table of hints has each scheme of each plugin, with the extra that installs that plugin."""
    hints = importlib.import_module("qtasks_core.discovery.schemes").SCHEME_EXTRAS
    served = {scheme: package.name.removeprefix("qtasks-") for package in PLUGINS for scheme in package.components}
    assert served == hints


def test_hatch_tests_each_plugin_alone() -> None:
    """The matrix `alone` of hatch.toml has every plugin."""
    matrix = _toml(ROOT / "hatch.toml")["envs"]["alone"]["matrix"]
    assert PACKAGES.keys() - NOT_ALONE == {name for row in matrix for name in row["plugin"]}


# ---------------------------------------------------------------- entry points and dependencies


@each_package
def test_entry_points_are_installed_as_declared(package: Package) -> None:
    """An editable installation does not follow a change of entry points: reinstall, or `hatch env prune`."""
    installed = {(point.group, point.name, point.value) for point in distribution(package.name).entry_points}
    assert package.entry_points == installed, "reinstall (scripts/test does), or `hatch env prune`"


@each_package
def test_entry_points_can_be_loaded(package: Package) -> None:
    """Whatever an entry point names is there."""
    for point in distribution(package.name).entry_points:
        assert point.load() is not None


@each_package
def test_imports_are_declared(package: Package) -> None:
    """What the modules import comes with the package, and what it brings is used."""
    declared = {canonicalize_name(requirement.name) for requirement in package.dependencies}
    optional = {canonicalize_name(one.name) for extra in package.extras.values() for one in extra}
    imported = _imported_distributions(package)
    assert set() == imported - declared - optional
    assert NEVER_IMPORTED.get(package.name, set()) == declared - imported


def _imported_distributions(package: Package) -> set[str]:
    names = {name for path in package.source.rglob("*.py") for name in _imports(path)}
    foreign = names - set(sys.stdlib_module_names) - {package.module, "__future__"}
    owners = packages_distributions()
    return {canonicalize_name(owners.get(name, [name])[0]) for name in foreign}


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


# ---------------------------------------------------------------- files


@each_package
def test_each_package_has_the_licence_of_the_project(package: Package) -> None:
    """The same text in the root and in each package, under the licence expression that it is."""
    assert (ROOT / "LICENSE").read_bytes() == (package.folder / "LICENSE").read_bytes()
    assert "Apache-2.0" == package.project["license"]


@each_package
def test_each_package_is_typed_and_has_a_readme(package: Package) -> None:
    """Type checkers read the annotations of an installed package, and an index shows what it is for."""
    assert (package.source / "py.typed").is_file()
    assert f"# {package.name}" == (package.folder / "README.md").read_text(encoding="utf-8").partition("\n")[0]


def test_no_module_is_longer_than_500_lines() -> None:
    """A module of more lines holds two things."""
    modules = _modules("packages/**/*.py", "tests/**/*.py", "examples/**/*.py", "benchmarks/**/*.py")
    lengths = {str(path.relative_to(ROOT)): len(path.read_bytes().splitlines()) for path in modules}
    assert set() == {path for path, length in lengths.items() if length > MAX_LINES}


def test_each_test_says_what_it_tests() -> None:
    """Each test function has a docstring; small tasks and fakes beside it need none."""
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in _modules("tests/**/test_*.py", "packages/*/tests/**/test_*.py", "examples/**/test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert [] == silent


def test_a_third_party_builds_on_what_pages_name() -> None:
    """What examples/third_party imports of the core stands in "Compatibility" or "Write a broker": promised."""
    pages = [(ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("compatibility.md", "write-a-broker.md")]
    named = {name for page in pages for name in re.findall(r"`(qtasks_core\.[a-z_]+)", page)} | {"qtasks_core"}
    imported = {
        node.module
        for path in _modules("examples/third_party/*/src/**/*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module
    }
    ours = {name for name in imported if name.partition(".")[0].startswith("qtasks") and "qtasks_dir" not in name}
    assert ours
    assert set() == ours - named


def test_scripts_can_be_run_and_are_explained() -> None:
    """Each script is executable and stands in CONTRIBUTING.md; those with a leading underscore are sourced."""
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    scripts = [path for path in _modules("scripts/*", ".ci/run") if not path.name.startswith("_")]
    for path in scripts:
        assert os.access(path, os.X_OK), path
        assert f"`{path.relative_to(ROOT)}`" in guide


def test_the_changelog_names_the_package_first() -> None:
    """Each entry is one sentence after the name of a package."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    entries = re.findall(r"^- .*$", text, re.MULTILINE)
    forms = [re.fullmatch(r"- \*\*([a-z-]+)\*\*: [^.]+(?:\.\S[^.]*)*\.", entry) for entry in entries]
    assert entries
    assert [] == [entry for entry, form in zip(entries, forms, strict=True) if not form or form[1] not in PACKAGES]
    assert "## [Unreleased]" in text
