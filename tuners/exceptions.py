"""Refusals of this app, named after the fact."""

from core.exceptions import DomainError, NotFound, PermissionRefused


class TunerNotFound(NotFound):
    message = "There is no such tuner."


class ApplicationNotFound(NotFound):
    message = "You have not started an application."


class CertificationNotFound(NotFound):
    message = "There is no such certification."


class ReviewNotFound(NotFound):
    message = "There is no such review."


class ReportNotFound(NotFound):
    message = "There is no such report."


class AppealNotFound(NotFound):
    message = "There is no such appeal."


class ApplicationExists(DomainError):
    message = "You have an application already; change or submit that one."


class AlreadyTuner(DomainError):
    message = "Your account is a tuner's or creator's already."


class StaffMayNotApply(PermissionRefused):
    """Whoever decides applications never has one, so that nobody decides on a colleague's in a circle."""

    code = "permission_denied"
    message = "A staff account can't apply. Use a separate rider account."


class ApplicationRequired(DomainError):
    message = "Start an application first; certifications belong to it."


class ApplicationNotEditable(DomainError):
    message = "An application can be changed as a draft or when more information was asked for."


class ApplicationNotSubmittable(DomainError):
    message = "Only a draft, or an application that more was asked for, can be submitted."


class ApplicationIncomplete(DomainError):
    message = "The application lacks something that is needed before it can be submitted."


class ApplicationCoolingDown(DomainError):
    message = "The application was rejected. You can start again after the date in `may_reapply_at`."


class ApplicationNotInReview(DomainError):
    message = "Only a submitted application can be decided."


class OwnApplication(PermissionRefused):
    """Nobody decides about themselves."""

    message = "You can't decide on your own application, documents or suspension."


class CertificationsUndecided(DomainError):
    message = "Decide on each certification first; a tuner needs at least one that is accepted and has not expired."


class CertificationAlreadyJudged(DomainError):
    message = "There is a verdict on this certification already."


class CertificationInUse(DomainError):
    message = "This certification is accepted or in review, so it has to stay."


class TooManyCertifications(DomainError):
    message = "You have as many certifications as one account can keep. Delete one that is not needed any more."


class TunerSuspended(PermissionRefused):
    message = "Your tuner profile is suspended."


class TunerAlreadySuspended(DomainError):
    message = "This tuner is suspended already."


class TunerNotSuspended(DomainError):
    message = "This tuner is not suspended."


class AppealExists(DomainError):
    message = "A suspension can be appealed once, and this one has been."


class AppealAlreadyDecided(DomainError):
    message = "This appeal has been decided."


class ReviewAppealNotFound(NotFound):
    message = "There is no such appeal."


class NothingToAppeal(DomainError):
    message = "There is no decision about this review that went against you."


class ReviewAppealExists(DomainError):
    message = "A decision about a review can be appealed once, and this one has been."


class ReviewAppealAlreadyDecided(DomainError):
    message = "This appeal has been decided."


class AlreadyReviewed(DomainError):
    message = "You have reviewed this tune already; change that review instead."


class OwnTuner(DomainError):
    message = "This is your own profile."


class OwnReview(DomainError):
    message = "This is your own review."


class ReviewHidden(DomainError):
    message = "Staff has hidden this review, so it can't be changed."


class ReviewNotPublished(DomainError):
    message = "Only a published review can be hidden."


class ReviewNotHidden(DomainError):
    message = "Only a hidden review can be restored."


class AlreadyReported(DomainError):
    message = "You have reported this review already. You can again when its author changes it after staff decided."


class ReportAlreadyDecided(DomainError):
    message = "This report has been decided."
