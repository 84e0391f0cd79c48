"""The door: HTTP in, commands to workflows, reads from the projection."""

__version__ = "0.1.0"
