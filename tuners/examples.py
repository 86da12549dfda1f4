"""Examples of what no journey reaches: an appeal needs a decision of staff first."""

from drf_spectacular.utils import OpenApiExample

APPEAL_REVIEW_DECISION = (
    OpenApiExample("Request", value={"text": "The review names a measured fault; nothing in it is an insult."}, request_only=True),
    OpenApiExample(
        "Answer",
        value={
            "id": "01a2153c-4f0e-7c61-9d1b-5f1c5a3f8e21",
            "review": "01a2153a-90d2-7bb4-8c55-2b7d1f6f4a10",
            "report": None,
            "text": "The review names a measured fault; nothing in it is an insult.",
            "state": "OPEN",
            "decision_reason": "",
            "decided_at": None,
            "created_at": "2026-11-25T18:04:11.204Z",
        },
        response_only=True,
        status_codes=["201"],
    ),
)
