"""Options that several commands share, so that each is spelled and explained in one way."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
Reports = Annotated[
    Path | None,
    typer.Option("--reports", help="The store; default $HARNESS_REPORTS, else ./reports.", show_default=False),
]
Policy = Annotated[
    Path | None,
    typer.Option("--policy", help="A policy YAML that takes the place of the spec's own.", show_default=False),
]
