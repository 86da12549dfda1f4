"""Codes of uploads."""

from core.problems import ProblemType

PROBLEMS = [
    ProblemType(
        "upload_not_pending",
        409,
        "The upload does not wait for bytes any more",
        "Read its `status`; start a new upload when it was refused.",
    ),
    ProblemType(
        "upload_not_received",
        409,
        "The storage has not received the file",
        "PUT the bytes to `upload.url` with exactly `upload.headers`, then complete.",
    ),
    ProblemType("upload_expired", 409, "The upload is too old", "Start a new upload: unused ones are removed after 24 hours."),
    ProblemType(
        "upload_quota_exceeded",
        409,
        "Too many uploads",
        "`quota` says which: `waiting` is for uploads that nothing uses yet (use them, or wait until they expire), `stored` for the "
        "files that are kept for this purpose (delete some of what they belong to).",
    ),
]
