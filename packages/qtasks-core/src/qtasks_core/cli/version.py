"""`qtasks version`."""

from __future__ import annotations

import platform
from importlib import metadata

import click

from qtasks_core.discovery.fitting import API_VERSION
from qtasks_core.wire import MAJOR, MINOR

__all__ = ["version"]


@click.command()
def version() -> None:
    """Print the versions of what is installed, one a line, and those of what plugins and messages keep to."""
    for name, number in _installed():
        click.echo(f"{name} {number}")
    click.echo(f"qtasks_api {API_VERSION}, wire version {MAJOR}.{MINOR}")
    click.echo(f"Python {platform.python_version()} on {platform.system()}")


def _installed() -> list[tuple[str, str]]:
    """Return the distributions of this project and its plugins; `qtasks` sorts first."""
    found = {str(found.metadata["Name"]): found.version for found in metadata.distributions()}
    return sorted((name, number) for name, number in found.items() if name == "qtasks" or name.startswith("qtasks-"))
