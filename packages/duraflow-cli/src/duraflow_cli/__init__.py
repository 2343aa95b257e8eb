"""The command `duraflow`: look at workflows and their instances, operate, check and keep them, from a shell."""

__version__ = "0.1.0"
