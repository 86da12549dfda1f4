"""Every change of this app's rows, one module for each noun."""

from tuners.services.applications import (
    approve_application,
    change_application,
    reject_application,
    request_information,
    start_application,
    submit_application,
)
from tuners.services.certifications import (
    accept_certification,
    add_certification,
    open_certification_file,
    refuse_certification,
    remove_certification,
    renew_badges,
)
from tuners.services.follows import follow_tuner, unfollow_tuner
from tuners.services.profiles import (
    appeal_suspension,
    change_profile,
    decide_appeal,
    reinstate_tuner,
    set_makes,
    suspend_tuner,
)
from tuners.services.reviews import (
    delete_review,
    dismiss_report,
    edit_review,
    hide_review,
    post_review,
    reply_to_review,
    report_review,
    restore_review,
    uphold_report,
)

__all__ = [
    "accept_certification",
    "add_certification",
    "appeal_suspension",
    "approve_application",
    "change_application",
    "change_profile",
    "decide_appeal",
    "delete_review",
    "dismiss_report",
    "edit_review",
    "follow_tuner",
    "hide_review",
    "open_certification_file",
    "post_review",
    "refuse_certification",
    "reinstate_tuner",
    "reject_application",
    "remove_certification",
    "renew_badges",
    "reply_to_review",
    "report_review",
    "request_information",
    "restore_review",
    "set_makes",
    "start_application",
    "submit_application",
    "suspend_tuner",
    "unfollow_tuner",
    "uphold_report",
]
