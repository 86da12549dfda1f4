"""Nothing personal is held without being registered: every column of every table is looked at."""

import pytest
from django.apps import apps
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import FieldDoesNotExist
from django.db import models

from users import privacy
from users.models import User
from users.privacy import AtDeletion, Excuse, Holding

FREE_FORM = (models.CharField, models.TextField, models.JSONField, models.BinaryField, models.GenericIPAddressField, models.UUIDField)
PERSONAL_TABLES = {holding.model.lower() for holding in privacy.holdings()}


def looks_personal(field: models.Field) -> bool:
    """Anything that can hold words, bytes, an address or an id of somebody: whatever has no fixed choices and is no figure.

    Deliberately blunt. A column that it wrongly suspects costs a word in the registry; one that it overlooks costs a person.
    """
    if isinstance(field, ArrayField):
        return looks_personal(field.base_field)
    if field.primary_key and not field.is_relation:
        return not isinstance(field, models.UUIDField | models.AutoField | models.BigAutoField | models.BigIntegerField)
    if field.is_relation:
        return field.related_model is User or field.related_model._meta.label_lower in PERSONAL_TABLES
    return isinstance(field, FREE_FORM) and not field.choices


def tables() -> list[type[models.Model]]:
    return [model for model in apps.get_models(include_auto_created=True) if not model._meta.proxy]


def unregistered(found: list[type[models.Model]], holdings: list[Holding], excuses: list[Excuse]) -> list[str]:
    covered: dict[str, set[str]] = {}
    for holding in holdings:
        covered.setdefault(holding.table._meta.label, set()).update(holding.covered_fields)
    for excuse in excuses:
        model = apps.get_model(excuse.model)
        names = {field.name for field in model._meta.concrete_fields} if excuse.fields == "*" else set(excuse.fields.split())
        covered.setdefault(model._meta.label, set()).update(names)
    return [
        f"{model._meta.label}.{field.name}"
        for model in found
        for field in model._meta.concrete_fields
        if looks_personal(field) and field.name not in covered.get(model._meta.label, set())
    ]


def test_every_column_that_looks_personal_is_registered_or_excused():
    missing = unregistered(tables(), privacy.holdings(), privacy.excuses())

    assert missing == [], "Register these in the personal_data.py of their app, or excuse them there with a reason."


def test_it_finds_what_nobody_registered():
    without = [holding for holding in privacy.holdings() if holding.section != "vehicles"]

    assert {"garage.Vehicle.vin", "garage.Vehicle.nickname", "garage.Vehicle.owner"} <= set(
        unregistered(tables(), without, privacy.excuses())
    )


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (models.EmailField(), True),
        (models.GenericIPAddressField(), True),
        (models.JSONField(), True),
        (ArrayField(models.CharField(max_length=9)), True),
        (models.CharField(max_length=9, choices=[("A", "a")]), False),
        (models.IntegerField(), False),
        (models.DateTimeField(), False),
    ],
)
def test_the_suspicion_is_blunt(field, expected):
    assert looks_personal(field) is expected


@pytest.mark.parametrize("holding", privacy.holdings(), ids=lambda holding: holding.section)
def test_holdings_name_what_exists(holding):
    assert User.objects.none().model is not None
    for name in [*holding.blank, *holding.stays.split(), *holding.withheld.split()]:
        assert holding.table._meta.get_field(name), name
    assert str(holding.table._default_manager.filter(**{holding.of: "0193a6f2-7c1e-7b3a-9a41-5f0c2d8e6b11"}).query)
    assert holding.why and holding.kept_for


@pytest.mark.parametrize("excuse", privacy.excuses(), ids=lambda excuse: excuse.model)
def test_excuses_name_what_exists_and_say_why(excuse):
    model = apps.get_model(excuse.model)
    for name in [] if excuse.fields == "*" else excuse.fields.split():
        try:
            model._meta.get_field(name)
        except FieldDoesNotExist:
            pytest.fail(f"{excuse.model}.{name} does not exist")
    assert len(excuse.reason) > 10


def test_sections_are_unique():
    sections = [holding.section for holding in privacy.holdings()]

    assert len(sections) == len(set(sections))


@pytest.mark.parametrize(
    "facts",
    [
        {"at_deletion": AtDeletion.KEPT},
        {"at_deletion": AtDeletion.KEPT, "because": "books"},
        {"at_deletion": AtDeletion.BLANKED, "because": "books", "ends": "some day"},
    ],
)
def test_a_holding_that_stays_says_why_and_until_when(facts):
    with pytest.raises(ValueError, match="say what is blanked"):
        Holding("users.Notice", of="user_id", section="x", why="x", **facts)


def test_figures_of_the_profile_come_from_all_apps():
    assert {stat for provider in privacy.providers() if provider.stats for stat in [provider.name]} == {"garage", "marketplace", "tuners"}
