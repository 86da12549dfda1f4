"""The HTTP side of this app's refusals."""

from core.problems import ProblemType

PROBLEMS: list[ProblemType] = [
    ProblemType("application_exists", 409, "You have an application already"),
    ProblemType("application_required", 409, "Start an application first"),
    ProblemType("already_tuner", 409, "You are a tuner or creator already"),
    ProblemType("application_not_editable", 409, "The application can't be changed now"),
    ProblemType("application_not_submittable", 409, "The application can't be submitted now"),
    ProblemType("application_incomplete", 409, "The application is incomplete", "`errors` name what is missing."),
    ProblemType("application_cooling_down", 409, "A rejected application rests first", "`may_reapply_at` says until when."),
    ProblemType("application_not_in_review", 409, "The application is not in review"),
    ProblemType("own_application", 403, "Nobody decides about themselves"),
    ProblemType("certifications_undecided", 409, "Certifications are not decided"),
    ProblemType("certification_already_judged", 409, "The certification has its verdict"),
    ProblemType("certification_in_use", 409, "The certification is in use"),
    ProblemType("too_many_certifications", 409, "Too many certifications"),
    ProblemType("tuner_suspended", 403, "The tuner profile is suspended"),
    ProblemType("tuner_already_suspended", 409, "The tuner is suspended already"),
    ProblemType("tuner_not_suspended", 409, "The tuner is not suspended"),
    ProblemType("appeal_exists", 409, "The suspension was appealed already"),
    ProblemType("appeal_already_decided", 409, "The appeal has been decided"),
    ProblemType("already_reviewed", 409, "You have reviewed this tune already"),
    ProblemType("own_tuner", 409, "This is your own profile"),
    ProblemType("own_review", 409, "This is your own review"),
    ProblemType("review_hidden", 409, "The review was hidden by staff"),
    ProblemType("review_not_published", 409, "The review is not published"),
    ProblemType("review_not_hidden", 409, "The review is not hidden"),
    ProblemType("already_reported", 409, "You have reported this review already"),
    ProblemType("report_already_decided", 409, "The report has been decided"),
]
