"""The command `harness`: parse, call, print, exit code. Everything else is elsewhere."""

from harness.cli.app import main

__all__ = ["main"]
