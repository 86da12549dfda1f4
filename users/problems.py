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
    ProblemType("admin_not_blockable", 409, "An admin can't be blocked"),
    ProblemType("role_unchanged", 409, "The person has this role already"),
    ProblemType("account_state_unchanged", 409, "The account is in this state already"),
]
