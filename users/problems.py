"""The problem types of accounts and sessions."""

from core.problems import ProblemType

PROBLEMS = [
    ProblemType("invalid_credentials", 401, "The e-mail address and the password do not match"),
    ProblemType("mfa_code_wrong", 401, "The second factor's code is not valid"),
    ProblemType("code_wrong", 400, "The code is not valid", "A code of the authenticator works once, and for about a minute."),
    ProblemType("mfa_token_over", 401, "This log-in has expired or was used"),
    ProblemType("challenge_code_wrong", 400, "The code is not right", "`tries_left` says how many guesses remain."),
    ProblemType("challenge_over", 409, "The challenge has expired, was used or had too many wrong codes"),
    ProblemType("current_password_wrong", 400, "The password is not right"),
    ProblemType("email_unchanged", 400, "This is the address already"),
    ProblemType("mfa_already_enabled", 409, "The second factor is on already"),
    ProblemType("mfa_not_enabled", 409, "The second factor is not on"),
    ProblemType("totp_not_pending", 409, "There is no enrolment to confirm"),
    ProblemType("mfa_required_by_role", 403, "Your role needs the second factor"),
    ProblemType("account_blocked", 403, "The account was blocked by staff"),
    ProblemType("last_active_admin", 409, "This is the last active admin"),
    ProblemType(
        "account_deletion_blocked",
        409,
        "Something has to be wound down first",
        "`blockers` lists each thing with a `code`, a `detail` and a `count`. GET users/me/deletion/ shows the same beforehand.",
    ),
    ProblemType(
        "stock_files_offered",
        409,
        "The stock files have not been fetched",
        "`stock_files` names each with the path that answers its link and its restore ticket. Repeat with `stock_files_saved=true`.",
    ),
    ProblemType("account_is_deleted", 409, "The account was deleted by its owner"),
    ProblemType("export_in_progress", 409, "An export is being made already", "`export_id` is the one to wait for."),
    ProblemType("admin_not_blockable", 409, "An admin can't be blocked"),
    ProblemType("role_unchanged", 409, "The person has this role already"),
    ProblemType("account_state_unchanged", 409, "The account is in this state already"),
]
