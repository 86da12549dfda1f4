"""What a person sees beside each operation in the docs."""

from typing import Any

from drf_spectacular.utils import OpenApiExample

PERSON = {
    "id": "0193a6f2-7c1e-7b3a-9a41-5f0c2d8e6b11",
    "email": "anna@example.com",
    "display_name": "Anna",
    "role": "RIDER",
    "mfa_enabled": False,
    "terms_version": "2026-11-01",
    "block": None,
    "created_at": "2026-06-01T12:00:00Z",
    "revision": 1,
}
INSTALLATION = {
    "installation_id": "7d0c1b6e-2f7a-4a58-9d3e-0a4f6c2b8e11",
    "name": "Anna's phone",
    "platform": "android",
    "app_version": "1.2.0",
}
DEVICE = {
    "id": "0193a6f3-11d2-7c09-8f5e-3b9a7d1c2e44",
    **INSTALLATION,
    "current": True,
    "last_seen_at": "2026-06-01T12:00:00Z",
    "created_at": "2026-06-01T12:00:00Z",
    "ip": "203.0.113.7",
}
TOKENS = {"access": "eyJhbGciOiJIUzI1NiIs…", "refresh": "eyJhbGciOiJIUzI1NiIs…"}
SESSION = {**TOKENS, "user": PERSON, "device": DEVICE}
CHALLENGE = {"challenge_id": "0193a6f2-9b40-7d55-b1c3-6e2f8a0d4c77"}
PASSWORD, NEW_PASSWORD = "quiet-otter-lifts-9-anvils", "seven-slow-herons-wade"
PROFILE = {
    "bio": "Twins, mostly.",
    "location": "Köln",
    "country": "DE",
    "experience_level": "ADVANCED",
    "avatar_url": None,
    "stats": {"vehicles": 2, "purchases": 3},
    "revision": 2,
    "updated_at": "2026-06-01T12:00:00Z",
}
CHANNELS = {"mail": True, "push": True, "mail_optional": True}
FIXED_CHANNELS = {**CHANNELS, "mail_optional": False}
PREFERENCES = {"security": FIXED_CHANNELS, "safety": FIXED_CHANNELS, "purchases": CHANNELS, "tuner": CHANNELS, "social": CHANNELS}
NOTICE = {
    "id": "0193a6f4-5a6b-7e21-a0d9-1c8b3f7e5d22",
    "type": "RECALL",
    "severity": "stop_flash",
    "title": "Stage 1 for the Yamaha MT-09 was recalled",
    "body": "Version 1.4.0 leans out above 9,000 rpm. Don't flash it; restore your stock file if you did.",
    "link": {"resource": "tune_version", "id": "0193a6f1-0c3d-7f88-9e11-7a5d2b4c6e90"},
    "created_at": "2026-06-01T12:00:00Z",
    "read_at": None,
}
CARD = {"id": PERSON["id"], "display_name": "Anna", "avatar_url": None, "role": "RIDER", "member_since": "2026-06-01"}
RECOVERY_CODES = {"recovery_codes": ["7KQ2MX-94TBVD", "HN3WPE-6RCJ8A"]}


ERASED = [
    {"what": "devices", "rows": 2, "how": "deleted"},
    {"what": "vehicles", "rows": 1, "how": "blanked"},
    {"what": "account", "rows": 1, "how": "blanked"},
]
KEPT = [
    {
        "what": "purchases",
        "rows": 3,
        "why": "the books must be kept for ten years; they name the account by an opaque id",
        "until": "2036-06-01",
        "ends": None,
    },
    {"what": "reviews", "rows": 1, "why": "the rating and its text stay for other riders", "until": None, "ends": "the tune goes"},
]
RECEIPT = {"deleted_at": "2026-06-01T12:00:00Z", "goes": ERASED, "stays": KEPT}
DELETION_PLAN = {
    "blockers": [{"code": "purchases_pending", "detail": "Cancel the purchases that wait for payment, or pay them.", "count": 1}],
    "stock_files": [
        {
            "id": "0193a6f6-0a1b-7c2d-8e3f-4a5b6c7d8e9f",
            "vehicle": "0193a6f5-1a2b-7c3d-8e4f-5a6b7c8d9e0f",
            "hardware_number": "RSH-4711-A",
            "calibration_id": "RSC-210-EU",
            "sha256": "5d41402abc4b2a76b9719d911017c592ae2d9a1d6b8e7f0c3a4b5c6d7e8f9a0b",
            "size_bytes": 1048576,
            "path": "/api/v1/garage/vehicles/0193a6f5-1a2b-7c3d-8e4f-5a6b7c8d9e0f/stock-files/0193a6f6-0a1b-7c2d-8e3f-4a5b6c7d8e9f/",
        }
    ],
    "goes": ERASED,
    "stays": KEPT,
}
EXPORT = {
    "id": "0193a6f7-2b3c-7d4e-8f50-6a7b8c9d0e1f",
    "status": "QUEUED",
    "progress_percent": 0,
    "created_at": "2026-06-01T12:00:00Z",
    "ready_at": None,
    "expires_at": None,
    "size_bytes": None,
    "sha256": None,
    "url": None,
    "url_expires_at": None,
}
READY_EXPORT = {
    **EXPORT,
    "status": "READY",
    "progress_percent": 100,
    "ready_at": "2026-06-01T12:00:20Z",
    "expires_at": "2026-06-02T12:00:20Z",
    "size_bytes": 2211840,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "url": "https://files.example/private/exports/6f1c….zip?X-Amz-Signature=…",
    "url_expires_at": "2026-06-01T12:01:30Z",
}


def _request(value: Any, name: str = "Request") -> OpenApiExample:
    return OpenApiExample(name, value=value, request_only=True)


def _answer(value: Any, status: int = 200, name: str = "Answer") -> OpenApiExample:
    return OpenApiExample(name, value=value, response_only=True, status_codes=[str(status)])


EXAMPLES: dict[str, tuple[OpenApiExample, ...]] = {
    "register": (
        _request({"email": "anna@example.com", "password": PASSWORD, "display_name": "Anna", "terms_version": "2026-11-01"}),
        _answer(CHALLENGE, 202),
    ),
    "verify_email": (_request({**CHALLENGE, "code": "123456", "device": INSTALLATION}), _answer(SESSION)),
    "resend_challenge": (_answer(CHALLENGE, 202),),
    "log_in": (
        _request({"email": "anna@example.com", "password": PASSWORD, "device": INSTALLATION}),
        _answer({"mfa_required": False, **SESSION}, name="Signed in"),
        _answer({"mfa_required": True, "mfa_token": "eyJhbGciOiJIUzI1NiIs…"}, name="With the second factor on"),
    ),
    "verify_mfa": (_request({"mfa_token": "eyJhbGciOiJIUzI1NiIs…", "code": "123456"}), _answer(SESSION)),
    "step_up": (_request({"password": PASSWORD}, "By password"), _request({"code": "123456"}, "By code")),
    "refresh_tokens": (_request({"refresh": TOKENS["refresh"]}), _answer(TOKENS)),
    "change_password": (_request({"current_password": PASSWORD, "new_password": NEW_PASSWORD}),),
    "request_password_reset": (_request({"email": "anna@example.com"}), _answer(CHALLENGE, 202)),
    "confirm_password_reset": (_request({**CHALLENGE, "code": "123456", "new_password": NEW_PASSWORD}),),
    "request_email_change": (_request({"email": "anna.berg@example.com"}), _answer(CHALLENGE, 202)),
    "confirm_email_change": (
        _request({**CHALLENGE, "code": "123456"}),
        _answer({**PERSON, "email": "anna.berg@example.com", "revision": 2}),
    ),
    "enrol_totp": (
        _answer(
            {
                "secret": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
                "otpauth_uri": "otpauth://totp/RevSync:anna%40example.com?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=RevSync",
            }
        ),
    ),
    "confirm_totp": (_request({"code": "123456"}), _answer(RECOVERY_CODES)),
    "renew_recovery_codes": (_answer(RECOVERY_CODES),),
    "get_me": (_answer(PERSON),),
    "change_me": (_request({"display_name": "Anna Berg"}), _answer({**PERSON, "display_name": "Anna Berg", "revision": 2})),
    "delete_me": (_answer(RECEIPT),),
    "plan_my_deletion": (_answer(DELETION_PLAN),),
    "request_my_export": (_answer(EXPORT, 201),),
    "get_my_export": (_answer(READY_EXPORT),),
    "get_my_profile": (_answer(PROFILE),),
    "change_my_profile": (_request({"bio": "Twins, mostly.", "country": "DE", "experience_level": "ADVANCED"}), _answer(PROFILE)),
    "list_my_devices": (_answer({"next": None, "results": [DEVICE]}),),
    "change_my_device": (_request({"name": "Workshop tablet"}), _answer({**DEVICE, "name": "Workshop tablet"})),
    "get_notification_preferences": (_answer(PREFERENCES),),
    "change_notification_preferences": (
        _request({"social": {"mail": False}}),
        _answer({**PREFERENCES, "social": {**CHANNELS, "mail": False}}),
    ),
    "list_my_notices": (_answer({"next": None, "results": [NOTICE]}),),
    "read_my_notice": (_answer({**NOTICE, "read_at": "2026-06-01T12:05:00Z"}),),
    "get_user": (_answer(CARD),),
}
