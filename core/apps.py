from django.apps import AppConfig
from django.db.models.signals import post_migrate


class CoreConfig(AppConfig):
    name = "core"
    verbose_name = "Platform"

    def ready(self) -> None:
        from core import meta, problems, rls
        from core.audit import sealing
        from core.uploads.enums import UploadPurpose, UploadState
        from core.uploads.problems import PROBLEMS

        problems.register(PROBLEMS)
        meta.register_enums(UploadPurpose, UploadState)
        post_migrate.connect(rls.after_migrate, sender=self, dispatch_uid="core.rls")
        post_migrate.connect(sealing.keep_counting, sender=self, dispatch_uid="core.audit")
