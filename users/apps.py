"""The users app: accounts, sessions, second factors, notices."""

from django.apps import AppConfig


class UsersConfig(AppConfig):
    """Registers this app's problems and enums when Django starts."""

    name = "users"
    label = "users"
    verbose_name = "Users"

    def ready(self) -> None:
        from core import doctor, meta, problems
        from users import enums, personal_data, privacy, push_checks
        from users.problems import PROBLEMS

        problems.register(PROBLEMS)
        privacy.register(personal_data.ACCOUNTS)
        privacy.register(personal_data.PLATFORM)
        doctor.register("push", push_checks.check_push)
        meta.register_enums(enums.Role, enums.Platform, enums.ExperienceLevel, enums.NoticeType, enums.NoticeSeverity, enums.NoticeCategory)
