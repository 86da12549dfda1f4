from django.apps import AppConfig


class TunersConfig(AppConfig):
    """Who may publish tunes: applications, profiles, certifications, reviews and the people who follow them."""

    name = "tuners"
    label = "tuners"
    verbose_name = "Tuners"

    def ready(self) -> None:
        from prometheus_client import REGISTRY

        from core import doctor, meta, problems
        from tuners import enums, personal_data, review_checks
        from tuners.problems import PROBLEMS
        from users import privacy

        problems.register(PROBLEMS)
        meta.register_enums(
            enums.TunerKind,
            enums.TunerStatus,
            enums.SuspensionReason,
            enums.Speciality,
            enums.ApplicationStatus,
            enums.CertificationType,
            enums.CertificationVerdict,
            enums.ReportReason,
            enums.ReportState,
            enums.ReviewState,
            enums.ReviewAppealState,
            enums.AppealState,
            enums.PublishBlocker,
        )
        privacy.register(personal_data.PROVIDER)
        doctor.register("reported reviews", review_checks.check_reviews)
        REGISTRY.register(review_checks.ReviewsCollector())
