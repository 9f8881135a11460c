"""The YAML front matter of cards on the Hugging Face Hub: what its words may be, and how records are told in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from harness.models.names import HUB_ID
from harness.models.package import PACKAGES
from harness.records import ModelRef
from harness.report.inert import line

_LICENCES = """
    apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m
    afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5
    cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
    cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0
    cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl
    lgpl-2.1 lgpl-3.0 isc ms-pl mpl-2.0 odc-by odbl openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl
    lgpl-lr deepfloyd-if-license llama2 llama3 llama3.1 llama3.2 llama3.3 gemma
"""
LICENCES = frozenset(_LICENCES.split())
"""Identifiers that the Hub knows (https://huggingface.co/docs/hub/repositories-licenses)."""
SIZES = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
    (10**9, "100M<n<1B"),
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_DATASET = re.compile(r"huggingface\.co/datasets/([A-Za-z0-9][\w-]*(?:\.[\w-]+)*(?:/[A-Za-z0-9][\w-]*(?:\.[\w-]+)*)?)")


def front(told: Mapping[str, Any]) -> str:
    """The block between `---`; what is None or empty is left out."""
    kept = {key: value for key, value in told.items() if value not in (None, "", [], ())}
    return f"---\n{yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=1000)}---\n"


def licence(words: str | None) -> dict[str, str]:
    """`license`, for one that the Hub has no identifier for with its name; empty where none is known."""
    said = re.sub(r"[^a-z0-9.+]+", "-", line(words or "").lower()).strip("-")
    if said in ("", "unknown", "none"):
        return {}
    if said in LICENCES:
        return {"license": said}
    return {"license": "other", "license_name": said[:80]}


def base_model(model: ModelRef) -> str | None:
    """The base model's id on the Hub; None for a local folder or a server's model, which nobody else can look up."""
    if model.name.startswith("package:"):
        package = PACKAGES.get(model.name.removeprefix("package:"))
        return package.hub if package else None
    fetched = model.revision is not None and _COMMIT.fullmatch(model.revision)  # a folder has no commit
    return model.name if fetched and HUB_ID.fullmatch(model.name) else None


def datasets(*told: str | None) -> list[str]:
    """Ids of Hub datasets that are named by their address."""
    return list(dict.fromkeys(name for text in told for name in _DATASET.findall(text or "")))


def size_category(rows: int) -> str:
    """The Hub's word for so many rows."""
    return next((word for below, word in SIZES if rows < below), "n>1T" if rows >= 10**12 else "1B<n<10B")
