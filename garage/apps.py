from django.apps import AppConfig


class GarageConfig(AppConfig):
    """Vehicles, their engine computers and stock images, and the catalogue of makes and models."""

    name = "garage"
    label = "garage"
    verbose_name = "Garage"

    def ready(self) -> None:
        from core import meta, problems
        from core.uploads import inspection
        from garage import enums, personal_data
        from garage.problems import PROBLEMS
        from users import privacy

        problems.register(PROBLEMS)
        meta.register_enums(
            enums.VehicleKind,
            enums.Market,
            enums.FuelScale,
            enums.CatalogStatus,
            enums.ModCategory,
            enums.ImageFormat,
            enums.TransferState,
            enums.IdentityKind,
        )
        privacy.register(personal_data.PROVIDER)
        for purpose in ("STOCK_FILE", "TUNE_FILE"):
            inspection.register(purpose, "garage.ecu_images.entry:inspect")
