"""`harness cancel`: fine-tuning jobs at services that were started from here, and ending one of them."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from harness.cli import console
from harness.cli.options import Json


def cancel(
    job: Annotated[
        str | None, typer.Argument(metavar="JOB", help="Its id at the service; without one, list.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """End a fine-tuning job at its service; without an id, list those that were not seen to end."""
    from harness.trainers import managed

    if job is not None:
        begun = managed.cancel(job)
        if json:
            console.print_json({"cancelled": job, "service": begun.service})
        else:
            console.out.print(
                f"{begun.service} was asked to end {job}; what it trained so far may be billed", markup=False
            )
        return
    found = [begun for _, begun in managed.unfinished()]
    if json:
        rows = [{"job": one.job, "service": one.service, "model": one.model, "started": one.started} for one in found]
        console.print_json({"jobs": rows})
        return
    for one in found:
        since = "" if one.started is None else time.strftime(", %Y-%m-%d %H:%M", time.localtime(one.started))
        console.out.print(f"{one.job}  {one.service}, {one.model}{since}", markup=False)
    if not found:
        console.out.print("no job is known to run at a service")
