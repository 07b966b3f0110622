"""The version, without a look into the installed metadata: that costs more than the rest of the import."""

__version__ = "0.1.0"
