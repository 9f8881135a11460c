"""What the local server of fine-tuning services answers in the words of Together and of Fireworks."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

KEY = "sk-local-0123456789abcdef"
BASE = "base-model"
TOKENS = 12_000
STEPS = 4
WHEN = 1_700_000_000
DATE = "2023-11-14T22:13:20Z"
LATER = "2023-11-14T22:23:20Z"
"""Ten minutes after DATE."""

Reply = tuple[int, Any, dict[str, str]]


@dataclass
class Job:
    """A fine-tuning job."""

    id: str
    body: dict[str, Any]
    looks: int = 0
    cancelled: bool = False


@dataclass
class Known:
    """What a server knows, and where its jobs stand."""

    dialect: str = "openai"
    url: str = ""
    outcome: str = "succeeded"
    """`succeeded`, `failed`, or `running`: a job that never ends."""
    files: dict[str, bytes] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)

    def state(self, job: Job) -> str:
        """Where a job stands: it moves with the looks at it."""
        if job.cancelled:
            return "cancelled"
        return self.outcome if job.looks > STEPS else "queued" if job.looks < 1 else "running"

    def tuned(self, job: Job) -> str:
        """The name of what a job makes."""
        if self.dialect == "fireworks":
            return f"accounts/me/models/{job.body.get('outputModel', job.id)}"
        return f"ft:{BASE}:{job.body.get('suffix') or 'me'}:{job.id}"

    def begin(self, id: str, body: dict[str, Any]) -> Job:
        self.jobs[id] = Job(id, body)
        return self.jobs[id]

    def look(self, id: str) -> Job | None:
        job = self.jobs.get(id)
        if job is not None:
            job.looks += 1
        return job


class TogetherWords(Known):
    """Together's calls."""

    def _together(self, method: str, path: str, body: bytes, form: str) -> Reply:
        match (method, path.removeprefix("/v1").strip("/").split("/")):
            case ("POST", ["files"]):
                known = f"file-{len(self.names)}"
                self.names[known] = parts(body, form)["file_name"].get_content().strip()
                return 302, {}, {"Location": f"{self.url}/storage/{known}", "X-Together-File-Id": known}
            case ("POST", ["files", known, "preprocess"]):
                return 200, {
                    "id": known, "object": "file", "bytes": len(self.files[known]), "created_at": WHEN,
                    "filename": self.names[known], "purpose": "fine-tune", "FileType": "jsonl", "Processed": True,
                }, {}  # fmt: skip
            case ("GET", ["fine-tunes", "models", "limits"]):
                return 200, LIMITS, {}
            case ("POST", ["fine-tunes", "estimate-price"]):
                return 200, {"estimation_available": True, "allowed_to_proceed": True, "estimated_total_price": 4.0,
                             "estimated_train_token_count": TOKENS, "user_limit": 100.0}, {}  # fmt: skip
            case ("POST", ["fine-tunes"]):
                return 200, self._together_job(self.begin(f"ft-{len(self.jobs)}", json.loads(body))), {}
            case ("GET", ["fine-tunes"]):
                return 200, {"data": [self._together_job(job) for job in self.jobs.values()]}, {}
            case ("GET", ["fine-tunes", id]) if id in self.jobs:
                self.look(id)
                return 200, self._together_job(self.jobs[id]), {}
            case ("GET", ["fine-tunes", id, "metrics"]) if id in self.jobs:
                steps = range(1, STEPS + 1)
                return 200, {"metrics": [{"train/global_step": n, "train/loss": 2.0 / n} for n in steps]}, {}
            case ("POST", ["fine-tunes", id, "cancel"]) if id in self.jobs:
                self.jobs[id].cancelled = True
                return 200, self._together_job(self.jobs[id]), {}
        return 404, {"error": {"message": f"no such call: {method} {path}"}}, {}

    def _together_job(self, job: Job) -> dict[str, Any]:
        state = self.state(job)
        words = {"succeeded": "completed", "failed": "error"}.get(state, state)
        event = {"object": "fine-tune-event", "created_at": DATE, "level": "info", "message": "on it", "hash": ""}
        events: list[dict[str, Any]] = [
            {**event, "type": "checkpoint_save", "step": step, "total_steps": STEPS}
            for step in range(1, min(job.looks, STEPS) + 1)
        ]
        if state == "failed":
            events.append({**event, "type": "job_error", "level": "error", "message": "Line 3 of the file is no chat."})
        return {
            **job.body,
            "id": job.id,
            "user_id": "me",
            "status": words,
            "created_at": DATE,
            "updated_at": LATER,
            "model_output_name": self.tuned(job),
            "adapter_output_name": None,
            "events": events,
            "token_count": TOKENS if state != "queued" else None,
            "total_price": 5_000_000_000 if state == "succeeded" else None,
        }


class FireworksWords(Known):
    """Fireworks' calls."""

    def _fireworks(self, method: str, path: str, body: bytes, form: str) -> Reply:
        account, _, rest = path.removeprefix("/v1/accounts/").partition("/")
        match (method, rest.replace(":", "/:").split("/")):
            case ("POST", ["datasets"]):
                known = json.loads(body)["datasetId"]
                if known in self.names:
                    return 409, {"code": 6, "message": "already exists"}, {}
                self.names[known] = f"{known}.jsonl"
                return 200, {"name": f"accounts/{account}/datasets/{known}", "state": "UPLOADING"}, {}
            case ("POST", ["datasets", known, ":upload"]):
                self.files[known] = parts(body, form)["file"].get_content()
                return 200, {"id": known, "object": "file"}, {}
            case ("POST", ["supervisedFineTuningJobs"]):
                made = json.loads(body)
                return 200, self._fireworks_job(self.begin(made.pop("query id"), made)), {}
            case ("GET", ["supervisedFineTuningJobs", id]) if id in self.jobs:
                self.look(id)
                return 200, self._fireworks_job(self.jobs[id]), {}
            case ("POST", ["supervisedFineTuningJobs", id, ":cancel"]) if id in self.jobs:
                self.jobs[id].cancelled = True
                return 200, {}, {}
        return 404, {"code": 5, "message": f"no such call: {method} {path}"}, {}

    def _fireworks_job(self, job: Job) -> dict[str, Any]:
        state = self.state(job)
        words = {"succeeded": "COMPLETED", "queued": "PENDING"}.get(state, state.upper())
        message = "Line 3 of the file is no chat." if state == "failed" else ""
        return {
            **job.body,
            "name": f"accounts/me/supervisedFineTuningJobs/{job.id}",
            "state": f"JOB_STATE_{words}",
            "status": {"code": "OK", "message": message},
            "createTime": DATE,
            "completedTime": LATER if state == "succeeded" else None,
            "jobProgress": {"percent": 25 * min(job.looks, STEPS)},
            "estimatedCost": {"currencyCode": "USD", "units": "3", "nanos": 500_000_000},
        }


LIMITS = {
    "model_name": BASE, "max_num_epochs": 20, "max_num_evals": 100, "max_learning_rate": 1.0, "min_learning_rate": 1e-7,
    "max_num_checkpoints": 10, "default_gradient_accumulation_steps": 1, "max_seq_length_sft": 8192,
    "max_seq_length_dpo": 8192, "min_max_seq_length": 64, "merge_output_lora": True, "supports_full_training": False,
    "supports_reasoning": False, "supports_tools": False, "supports_vision": False,
    "lora_training": {
        "default_rank": 8, "max_rank": 64, "max_batch_size": 64, "min_batch_size": 1, "max_batch_size_dpo": 32,
        "target_modules": ["q_proj"],
    },
}  # fmt: skip


def parts(body: bytes, form: str) -> dict[str, EmailMessage]:
    """The parts of a form by name."""
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + form.encode() + b"\r\n\r\n" + body)
    return {str(part.get_param("name", header="content-disposition")): part for part in message.iter_parts()}
