from django.apps import AppConfig


class MarketplaceConfig(AppConfig):
    """Tunes, purchases and the trust documents that bind them to a vehicle."""

    name = "marketplace"
    label = "marketplace"
    verbose_name = "Marketplace"

    def ready(self) -> None:
        from django.db.models import TextChoices
        from prometheus_client import REGISTRY

        from core import background, doctor, health, meta, problems
        from garage import listeners as garage_listeners
        from garage import tune_images
        from marketplace import enums, payment_checks, personal_data, trust_checks
        from marketplace.problems import PROBLEMS
        from marketplace.selectors.tune_images import is_published_image
        from marketplace.services import analytics, catalogue, flash_groups, ratings, upkeep
        from tuners import listeners
        from users.privacy import register

        problems.register(PROBLEMS)
        tune_images.register(is_published_image)
        meta.register_enums(*(value for value in vars(enums).values() if isinstance(value, type) and issubclass(value, TextChoices)))
        register(personal_data.PROVIDER)
        health.register_check("status_document", trust_checks.find_status_trouble)
        doctor.register("status document", trust_checks.check_status)
        doctor.register("reconciler", payment_checks.check_payments)
        REGISTRY.register(payment_checks.PaymentsCollector())
        background.register("views of tunes", analytics.flush_views)
        garage_listeners.on_model_merged(catalogue.move_to_model)
        garage_listeners.on_model_merged(flash_groups.move_to_model)
        listeners.on_review(ratings.move_rating)
        listeners.on_standing(upkeep.on_standing)
