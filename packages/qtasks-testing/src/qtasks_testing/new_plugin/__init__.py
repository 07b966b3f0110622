"""`qtasks new-plugin`: a distribution to start from, which passes its tests as it is written.

The command is in `command`, which names there may be in `naming`, how the files come to be in `rendering`. The files
themselves are in `template/`, which is also the folder `template` at the root of the repository.
"""

from qtasks_testing.new_plugin.command import new_plugin

__all__ = ["new_plugin"]
