"""The vocabulary: every record that crosses a file boundary. Read this first.

All records are frozen and refuse unknown fields. `None` means "not measured" and
is never the same as 0. Records say what happened; behaviour lives elsewhere.

    Experiment folder    what it holds                          record
    spec.yaml            the resolved spec                      (spec.ExperimentSpec)
    provenance.json      versions, commit, hardware, model      Provenance
    conditions.json      the engine that answers everything     Conditions
    data.json            fingerprints and audit                 DataRecord
    prompt.json          the prompt search and its winner       PromptRecord
    taught.json          a teacher's rows, a judge's pairs       TaughtRecord
    sweep.json           the search over training arguments     SweepRecord
    training.json        one training per seed                  TrainingRecord
    parity.json          engine against training process        ParityRecord
    runs/<id>/run.json   one candidate on one suite             RunRecord
    runs/<id>/samples    one line per sample                    SampleRecord
    forgetting.json      general text, KL to the base model     ForgettingRecord
    gated.json           a deploy gate's sides                  GatedRecord
    comparisons.jsonl    two runs joined                        ComparisonRecord
    verdict.json         the decision and its gates             VerdictRecord
    votes.jsonl          what people preferred, blind           VoteRecord
    exports/<name>.json  what was exported, judged again        ExportRecord
    spending.jsonl       what it took, and its prices           SpendingRecord

Beside the experiment folders, `looks.jsonl` counts who was judged on which test split (LookRecord),
`monitoring.jsonl` keeps every look at production logs (MonitorRecord), and `registry.jsonl` every move of `production`
and other aliases (ReleaseRecord).
"""

from harness.records.answered import (
    Conditions,
    EarlyStop,
    Interval,
    MetricSummary,
    ReferenceConditions,
    RunRecord,
    SampleRecord,
)
from harness.records.asked import (
    AdapterRef,
    Candidate,
    Constraint,
    Decoding,
    Item,
    ModelRef,
    Preference,
    Prompt,
    Retrieval,
)
from harness.records.base import (
    EXIT_CODES,
    SCHEMA_VERSION,
    Action,
    Claim,
    Decision,
    Message,
    Outcome,
    OutputType,
    Record,
    Role,
    Rule,
    SchemaVersion,
    Severity,
    Spending,
    SplitName,
    canonical_json,
    digest,
)
from harness.records.exported import ChangedAnswer, ExportFormat, ExportRecord, RejudgedRecord
from harness.records.gated import GatedRecord, ReusedRun, SideKind, SideRecord
from harness.records.judged import (
    ComparisonRecord,
    Family,
    Finalist,
    GateRecord,
    JudgedRun,
    LookRecord,
    Provenance,
    SliceOutcome,
    VerdictRecord,
)
from harness.records.prepared import (
    ArmRecord,
    DataRecord,
    Finding,
    PromptRecord,
    SplitRecord,
    TracePoint,
)
from harness.records.proven import (
    AdapterParity,
    ForgettingRecord,
    Forgotten,
    ParityRecord,
    PassageLikelihood,
)
from harness.records.released import ReleaseRecord
from harness.records.spent import Price, PricesRecord, SpendingRecord
from harness.records.taught import SweepRecord, TaughtRecord, TaughtRow, TrialRecord
from harness.records.trained import (
    CurvePoint,
    DevPoint,
    LengthBin,
    ManagedJob,
    MemoryForecast,
    ProbeScores,
    SeedTraining,
    Supervision,
    TrainingFinding,
    TrainingPoint,
    TrainingRecord,
)
from harness.records.voted import VoteRecord
from harness.records.watched import (
    CanaryLine,
    CanaryRecord,
    DriftTest,
    Due,
    LogCount,
    MonitorRecord,
    StreamState,
    Watched,
)

__all__ = [
    "EXIT_CODES",
    "SCHEMA_VERSION",
    "Action",
    "AdapterParity",
    "AdapterRef",
    "ArmRecord",
    "CanaryLine",
    "CanaryRecord",
    "Candidate",
    "ChangedAnswer",
    "Claim",
    "ComparisonRecord",
    "Conditions",
    "Constraint",
    "CurvePoint",
    "DataRecord",
    "Decision",
    "Decoding",
    "DevPoint",
    "DriftTest",
    "Due",
    "EarlyStop",
    "ExportFormat",
    "ExportRecord",
    "Family",
    "Finalist",
    "Finding",
    "ForgettingRecord",
    "Forgotten",
    "GateRecord",
    "GatedRecord",
    "Interval",
    "Item",
    "JudgedRun",
    "LengthBin",
    "LogCount",
    "LookRecord",
    "ManagedJob",
    "MemoryForecast",
    "Message",
    "MetricSummary",
    "ModelRef",
    "MonitorRecord",
    "Outcome",
    "OutputType",
    "ParityRecord",
    "PassageLikelihood",
    "Preference",
    "Price",
    "PricesRecord",
    "ProbeScores",
    "Prompt",
    "PromptRecord",
    "Provenance",
    "Record",
    "ReferenceConditions",
    "RejudgedRecord",
    "ReleaseRecord",
    "Retrieval",
    "ReusedRun",
    "Role",
    "Rule",
    "RunRecord",
    "SampleRecord",
    "SchemaVersion",
    "SeedTraining",
    "Severity",
    "SideKind",
    "SideRecord",
    "SliceOutcome",
    "Spending",
    "SpendingRecord",
    "SplitName",
    "SplitRecord",
    "StreamState",
    "Supervision",
    "SweepRecord",
    "TaughtRecord",
    "TaughtRow",
    "TracePoint",
    "TrainingFinding",
    "TrainingPoint",
    "TrainingRecord",
    "TrialRecord",
    "VerdictRecord",
    "VoteRecord",
    "Watched",
    "canonical_json",
    "digest",
]
