"""Tells the demo data's story through the services, dated over the last months.

Everything is one transaction: a start that was killed leaves nothing behind but objects in storage and intents at the
stand-in payment server, which nobody refers to. The tuners' uploads take the real way: quarantine, check, inspection,
review, signature.
"""

import hashlib
import json
import random
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import requests
from django.conf import settings
from django.db import transaction
from django_tasks.base import TaskResultStatus
from django_tasks_db.models import DBTaskResult
from PIL import Image, ImageDraw, ImageFont

from core import signing, storage
from core.idempotency import Claim
from core.ids import new_id
from core.meta import agreed_text
from core.uploads import services as uploads
from core.uploads.enums import UploadState
from garage import services as garage
from garage.ecu_images import generator
from garage.models import Vehicle
from marketplace import payments
from marketplace.demo.ecus import BY_KEY, FAMILIES, EcuFamily, stock_image, tuned_image
from marketplace.demo.listings import DESCRIPTIONS, EMISSIONS, PRICE_FACTOR, REPLIES, REVIEWS, TAGS, TITLES, TUNES, DemoTune
from marketplace.demo.people import ADMINS, APPLICANTS, RIDERS, TUNERS, DemoApplicant, DemoTuner
from marketplace.enums import PaymentAttemptState, PurchaseStatus
from marketplace.exceptions import AcknowledgementRequired, RegionBlocked
from marketplace.models import PaymentAttempt, Purchase, Tune, TuneVersion, VersionStop
from marketplace.policies.payouts import PAYOUT_EVERY, next_run_after
from marketplace.services import (
    buyer_reviews,
    cases,
    disputes,
    favorites,
    flashes,
    grants,
    listings,
    payout_accounts,
    payouts,
    purchasing,
    refunds,
    review,
    saved_searches,
    status,
    stops,
    trending,
    upkeep,
    versions,
)
from marketplace.services.inspection import inspect_version
from tuners import services as tuners
from tuners.models import TunerApplication, TunerProfile
from users import services as users
from users.models import User
from users.services import accounts

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
PAY_TIMEOUT_SECONDS = 15
DONE_ALREADY = [  # tasks that the story has told itself, or whose mails would arrive months late
    "users.tasks.deliver_notice",
    "marketplace.tasks.versions.tell_owners",
    "marketplace.tasks.trust.tell_stop",
    "marketplace.tasks.tunes.refresh_makes_of",
]
MIME_BIN = "application/octet-stream"
ASKED = "It surges between 3,000 and 4,000 rpm, and going back to 1.0.0 did not help."
DECIDED = {
    "FULL_REFUND": "The log shows the surge, and the tuner agrees.",
    "PARTIAL_REFUND": "It runs well now; the trouble before was real.",
    "NO_REFUND": "The log shows a leak in the intake, not the map.",
}
# What is said in cases, by whom, so that there is one in every state.
TALKS = (
    ("OTHER", (("rider", "Does this still fit after the recall of my airbox?"),)),
    ("FLASH_FAILURE", (
        ("rider", "The write stopped at 40 %, the stock file went back on without trouble."),
        ("tuner", "Which charger was connected? Please send the battery's voltage under load."),
        ("rider", "None. 11.9 V with the ignition on."),
    )),
    ("OTHER", (("rider", "Can I run it on 95?"), ("tuner", "Yes, RON 95 is what it was made for. Does it knock?"))),
    ("OTHER", (("rider", "My ECU was replaced under warranty."), ("staff", "We look at your license and come back to you."))),
)  # fmt: skip
WAITS = {"We look at your license and come back to you.": "WAITING_STAFF"}


class DemoFailed(Exception):
    """A step of the story was refused: the demo data and the services disagree."""


@dataclass
class Offer:
    """A listing on sale, with what a rider needs to know to fit it."""

    spec: DemoTune
    tune: Tune
    family: EcuFamily
    author: User
    version: TuneVersion


@dataclass
class Ride:
    """A vehicle in somebody's garage."""

    owner: User
    vehicle: Vehicle
    family: EcuFamily
    market: str
    has_stock_file: bool = False
    is_flashed: bool = False


@dataclass
class Loader:
    """One run. `say` gets a line for each chapter; `now` is the moment the story ends."""

    data_dir: Path
    now: datetime
    say: Callable[[str], None]
    people: dict[str, User] = field(default_factory=dict)
    accounts: list[dict[str, Any]] = field(default_factory=list)
    offers: list[Offer] = field(default_factory=list)
    rides: list[Ride] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random("revsync demo"))

    def load(self) -> None:
        """Make everything, then write `demo.json` and the stock images. Raises: DemoFailed."""
        with transaction.atomic():
            garage.import_catalogue()
            for chapter in (
                self.register_people,
                self.approve_tuners,
                self.judge_applicants,
                self.publish_tunes,
                self.fill_garages,
                self.trade,
                self.change_their_minds,
                self.argue_about_money,
                self.pay_tuners,
                self.stop_versions,
                self.look_around,
            ):
                self.say(chapter.__doc__.splitlines()[0].rstrip("."))
                chapter()
            status.publish_status(at=self.now)
            self._forget_old_mails()
            self._write_stock_images()
            self._write_accounts()
        finish(self.data_dir)

    def ago(self, days: float) -> datetime:
        """About so many days ago, at some moment that nobody chose."""
        return self.now - days * DAY - timedelta(seconds=self.chance.randint(60, 6 * 3600))

    # People

    def register_people(self) -> None:
        """Register people."""
        for key, name in ADMINS:
            password = _password()
            user, secret, _ = accounts.create_admin(email=f"{key}@revsync.example", password=password, display_name=name, at=self.ago(400))
            self._remember(key, user, "ADMIN", password, secret)
        for key, name, country, town, experience in RIDERS:
            at = self.ago(self.chance.randint(100, 320))
            self._register(key, name, country, at=at)
            users.update_profile(
                user=self.people[key], changes={"location": town, "experience_level": experience}, revision=None, at=at + HOUR
            )
        for tuner in TUNERS:
            self._register(tuner.key, tuner.name, tuner.country, at=self.ago(330), role=tuner.kind, mfa=True, about=tuner.about)
        for applicant in APPLICANTS:
            self._register(applicant.key, applicant.name, applicant.country, at=self.ago(40), about="applicant")

    def _register(
        self, key: str, name: str, country: str, *, at: datetime, role: str = "RIDER", mfa: bool = False, about: str = ""
    ) -> None:
        password = _password()
        user = accounts.create_account(
            email=f"{key}@revsync.example", password=password, display_name=name, terms_version=agreed_text("terms").version, at=at
        )
        users.update_profile(user=user, changes={"country": country}, revision=None, at=at)
        secret = accounts.enrol_by_operator(user=user, at=at)[0] if mfa else None
        self._remember(key, User.objects.get(pk=user.pk), role, password, secret, about)

    def _remember(self, key: str, user: User, role: str, password: str, secret: str | None, about: str = "") -> None:
        self.people[key] = user
        self.accounts.append({"role": role, "email": user.email, "password": password, "totp_secret": secret, "about": about})

    @property
    def admin(self) -> User:
        return self.people[ADMINS[0][0]]

    # Tuners

    def approve_tuners(self) -> None:
        """Approve tuners and creators."""
        for index, tuner in enumerate(TUNERS):
            at = self.ago(300 - index * 6)
            application = self._apply(tuner, at=at)
            for certification in application.applicant.tuner_certifications.all():
                tuners.accept_certification(
                    certification_id=certification.pk, actor=self.admin, reason="Checked with the issuer.", at=at + DAY
                )
            tuners.approve_application(application_id=application.pk, actor=self.admin, reason="Complete and checked.", at=at + 2 * DAY)
            self.people[tuner.key].refresh_from_db()
            tuners.change_profile(user=self.people[tuner.key], about=tuner.profile, at=at + 3 * DAY)

    def _apply(self, tuner: DemoTuner | DemoApplicant, *, at: datetime, submit: bool = True) -> TunerApplication:
        applicant = self.people[tuner.key]
        is_tuner = isinstance(tuner, DemoTuner)
        tuners.start_application(
            applicant=applicant,
            kind=tuner.kind if is_tuner else "TUNER",
            business_name=tuner.business_name,
            country=tuner.country,
            website=tuner.website if is_tuner else "",
            experience=tuner.experience,
            specialities=list(tuner.specialities) if is_tuner else ["STREET"],
            at=at,
        )
        if submit:
            for kind, issuer in (("BUSINESS_REGISTRATION", "Commercial register"), ("INSURANCE", "Continental Mutual")):
                document = self._upload(
                    applicant, "CERTIFICATION", f"{kind.lower()}.pdf", _pdf(tuner.business_name, kind), "application/pdf", at=at
                )
                tuners.add_certification(
                    owner=applicant,
                    upload_id=document,
                    type=kind,
                    issuer=issuer,
                    number=f"{self.chance.randint(10_000, 99_999)}",
                    expires_on=date(self.now.year + 2, 6, 30),
                    at=at,
                )
            tuners.submit_application(applicant=applicant, at=at)
        return TunerApplication.objects.select_related("applicant").get(applicant=applicant)

    def judge_applicants(self) -> None:
        """Leave applications in every state."""
        for index, applicant in enumerate(APPLICANTS):
            at = self.ago(9 - index * 1.5)
            application = self._apply(applicant, at=at, submit=applicant.state != "DRAFT")
            if applicant.state == "INFO_REQUESTED":
                tuners.request_information(
                    application_id=application.pk, actor=self.admin, reason="Please add the insurance policy's last page.", at=at + DAY
                )
            elif applicant.state == "REJECTED":
                tuners.reject_application(
                    application_id=application.pk, actor=self.admin, reason="Files of unknown origin can't be published here.", at=at + DAY
                )

    # Tunes

    def publish_tunes(self) -> None:
        """Upload, inspect, review and publish tunes."""
        for index, spec in enumerate(TUNES):
            waiting = {"in_review": 1.2, "changes": 4}
            self._publish(spec, at=self.ago(waiting.get(spec.story, 150 - index * 1.9)))
        upkeep.refresh_makes()

    def _publish(self, spec: DemoTune, *, at: datetime) -> None:
        tuner = next(tuner for tuner in TUNERS if tuner.key == spec.tuner)
        author, family = self.people[spec.tuner], BY_KEY[spec.family]
        requirements = {
            "fuel": {"octane": family.octane[0], "scale": family.octane[1]},
            "required_parts": ["EXHAUST"] if spec.category == "STAGE_2" else [],
            "forbidden_parts": [],
            "flash_methods": list(family.flash_methods),
            "read_back": family.read_back,
            "min_battery_mv": 12_400,
        }
        pictured = TUNES.index(spec) % 3 == 0
        tune = listings.create_tune(
            author=author,
            facts={
                "title": TITLES[spec.category].format(model=family.model),
                "description": DESCRIPTIONS[spec.category],
                "kind": family.kind,
                "category": spec.category,
                "price_minor": _price(spec.price_cents, tuner.currency),
                "currency": tuner.currency,
                "requirements": requirements,
                "dyno": self._dyno(spec, family),
            },
            image_upload_ids=[self._upload(author, "TUNE_IMAGE", "cover.png", _cover(family, spec), "image/png", at=at)]
            if pictured
            else [],
            at=at,
        )
        if spec.story == "draft":
            return
        version = None
        for number in range(spec.versions):
            version = self._make_version(spec, tune, family, number, requirements, author=author, at=at + number * 20 * DAY)
        assert version is not None
        if spec.story == "archived":
            listings.archive_tune(author=author, tune_id=tune.pk, at=self.ago(5))
        tune.refresh_from_db()
        if spec.story in {"published", "recalled", "held"}:
            self.offers.append(Offer(spec, tune, family, author, version))

    def _make_version(
        self, spec: DemoTune, tune: Tune, family: EcuFamily, number: int, requirements: dict, *, author: User, at: datetime
    ) -> TuneVersion:
        files = []
        for market in _markets_of(spec, family):
            variant = family.variant(market)
            after = f"{family.calibration}{market[0]}-{spec.tuner[:3].upper()}{number + 1}{TUNES.index(spec):02d}"
            image = tuned_image(
                family, market, seed=f"{spec.tuner}:{spec.category}:{number}", calibration_id=after, maps=3 + number, percent=4 + number
            )
            content, name = (generator.to_intel_hex(image), f"{after}.hex") if spec.format == "INTEL_HEX" else (image, f"{after}.bin")
            upload_id = self._upload(
                author, "TUNE_FILE", name, content if isinstance(content, bytes) else content.encode(), MIME_BIN, at=at
            )
            files.append(
                {
                    "upload_id": upload_id,
                    "calibration_id_after": after,
                    "fitments": [
                        {
                            "make": family.make,
                            "model": model,
                            "year_from": year_from,
                            "year_to": year_to,
                            "markets": family.sold_in(variant.market),
                            "hardware_numbers": [variant.hardware_number],
                            "calibration_ids": [variant.calibration_id],
                            "image_size_bytes": family.image_size_bytes,
                        }
                        for model, year_from, year_to in family.models
                    ],
                }
            )
        version = versions.create_version(
            author=author,
            tune_id=tune.pk,
            facts={
                "version": f"1.{number}.0",
                "changelog": "First release." if number == 0 else "Softer first two per cent of the grip; idle 50 rpm higher when cold.",
                "emissions_class": EMISSIONS.get(spec.category, "UNCHANGED"),
                "certification_number": "",
                "blocked_regions": ["US-CA"] if spec.category in EMISSIONS and "US" in family.markets else [],
                "tags": TAGS[spec.category],
                "requirements": requirements,
            },
            files=files,
            at=at,
        )
        inspect_version(version_id=version.pk, at=at + HOUR)
        version.refresh_from_db()
        if version.status != "VALIDATED":
            raise DemoFailed(f"{tune.title}: {version.inspection_findings} {[file.inspection_findings for file in version.files.all()]}")
        versions.submit_version(author=author, version_id=version.pk, at=at + 2 * HOUR)
        if spec.story == "in_review":
            return version
        if spec.story == "changes":
            review.request_changes(
                version_id=version.pk,
                reviewer=self.admin,
                reason_code="FITMENT_DOUBTFUL",
                note="Which exhaust was on the dyno? Please state the part number, and attach the sheet.",
                at=at + DAY,
            )
            return version
        review.publish_tune_version(
            version_id=version.pk,
            reviewer=self.admin,
            approved_sha256=[file.sha256 for file in version.files.all()],
            note="Changed regions are maps only; checksums are right; fitments agree with what the image states.",
            at=at + DAY,
        )
        version.refresh_from_db()
        return version

    def _dyno(self, spec: DemoTune, family: EcuFamily) -> dict | None:
        if spec.category not in {"STAGE_1", "STAGE_2", "TRACK", "FLEX_FUEL"}:
            return None
        power_kw = round(40 + family.image_size_bytes / 8192 + self.chance.random() * 20, 1)
        torque_nm = round(power_kw * 0.95, 1)
        gain = {"STAGE_1": 1.05, "STAGE_2": 1.09, "TRACK": 1.08, "FLEX_FUEL": 1.16}[spec.category]
        return {
            "standard": "SAE_J1349" if spec.tuner in {"highdesert", "pacific"} else "DIN",
            "baseline": {"power_kw": power_kw, "torque_nm": torque_nm},
            "tuned": {"power_kw": round(power_kw * gain, 1), "torque_nm": round(torque_nm * gain, 1)},
        }

    # Riders

    def fill_garages(self) -> None:
        """Put bikes and cars into garages, read their ECUs, save stock files."""
        plan = [*FAMILIES, BY_KEY["mt09"], BY_KEY["mt07"], BY_KEY["z900"], BY_KEY["t7"]]
        for index, family in enumerate(plan):
            key, _, country, *_ = RIDERS[index % len(RIDERS)]
            self._add_ride(self.people[key], family, _market_of(country, family), index=index, at=self.ago(95 - index))

    def _add_ride(self, owner: User, family: EcuFamily, market: str, *, index: int, at: datetime) -> None:
        year = family.year_from + index % (family.year_to - family.year_from + 1)
        vehicle = garage.add_vehicle(
            owner=owner,
            at=at,
            kind=family.kind,
            make=family.make,
            model=family.model,
            year=year,
            vin=family.vin(year, 101 + index) if index % 3 == 0 else None,
            market=market,
            odometer_km=3_000 + 700 * index,
            fuel={"octane": family.octane[0], "scale": family.octane[1]},
        ).resource
        variant = family.variant(market)
        garage.record_ecu_readout(
            owner=owner,
            vehicle_id=vehicle.pk,
            hardware_number=variant.hardware_number,
            calibration_id=variant.calibration_id,
            serial=f"DEMO{index:04d}{family.key.upper()}",
            image_size_bytes=family.image_size_bytes,
            read_at=at,
            at=at,
        )
        if index % 2:
            garage.add_mod(owner=owner, vehicle_id=vehicle.pk, category="EXHAUST", brand="Akrapovič", part="Slip-on", at=at)
        ride = Ride(owner, vehicle, family, market)
        if index % 4 != 3 and family.read_back == "YES":
            content = stock_image(family, market)
            upload_id = self._upload(owner, "STOCK_FILE", f"{variant.calibration_id}.bin", content, MIME_BIN, at=at)
            garage.save_stock_file(owner=owner, vehicle_id=vehicle.pk, upload_id=upload_id, at=at)
            ride.has_stock_file = True
        if family.read_back == "NO":
            garage.accept_no_read_back(owner=owner, vehicle_id=vehicle.pk, text_version=agreed_text("no_read_back").version, at=at)
        vehicle.refresh_from_db()
        self.rides.append(ride)

    def trade(self) -> None:
        """Buy, download, flash and review."""
        told = 0
        for index, (ride, offer, share) in enumerate(self._deals()):
            earliest = max(offer.version.published_at, ride.vehicle.created_at) + DAY
            bought_at = earliest + share * (self.now - DAY - earliest)
            purchase = self._buy(ride, offer, at=bought_at)
            if purchase is None:
                continue
            if index % 9 != 8:
                self._download_and_flash(ride, purchase, fails=index % 14 == 13, at=bought_at + HOUR)
                if index % 3 != 2:
                    rating, text = REVIEWS[told % len(REVIEWS)]
                    posted = buyer_reviews.review_tune(
                        author=ride.owner,
                        tuner_id=offer.tune.tuner_id,
                        tune_id=offer.tune.pk,
                        rating=rating,
                        text=text,
                        at=bought_at + 5 * HOUR,
                    )
                    if told % 4 == 0:
                        tuners.reply_to_review(
                            user=offer.author, review_id=posted.pk, text=REPLIES[told % len(REPLIES)], at=bought_at + 9 * HOUR
                        )
                    if told == 7:
                        tuners.report_review(
                            reporter=offer.author,
                            review_id=posted.pk,
                            reason="FAKE",
                            text="This rider had the file for five minutes; the consumption can't have been measured.",
                            at=self.ago(1),
                        )
                    told += 1
            if index % 4 == 0:
                favorites.add_favorite(user=ride.owner, tune_id=offer.tune.pk, at=bought_at - HOUR)
            if index % 5 == 0:
                tuners.follow_tuner(follower=ride.owner, tuner_id=offer.tune.tuner_id, at=bought_at)

    def _deals(self) -> Iterator[tuple[Ride, Offer, float]]:
        """Every rider buys two or three of the tunes that fit, at some share of the time since they could."""
        for index, ride in enumerate(self.rides):
            fitting = [
                offer
                for offer in self.offers
                if offer.family is ride.family
                and ride.family.variant(ride.market).market in _markets_of(offer.spec, ride.family)
                and (offer.spec.category != "STAGE_2" or index % 2)
            ]
            wanted = fitting[: 2 + index % 2]
            for place, offer in enumerate(wanted):
                yield ride, offer, (place + self.chance.random()) / len(wanted)

    def _buy(self, ride: Ride, offer: Offer, *, at: datetime) -> Purchase | None:
        try:
            purchase = self._begin(ride, offer, at=at)
        except RegionBlocked:
            return None
        if purchase.status == "PENDING":
            self._press(purchase)
            purchase = purchasing.sync_purchase(buyer=ride.owner, purchase_id=purchase.pk, at=at + timedelta(minutes=3))
        if purchase.status != "PAID":
            raise DemoFailed(f"{offer.tune.title} was not paid: {purchase.status}")
        return purchase

    @staticmethod
    def _begin(ride: Ride, offer: Offer, *, at: datetime) -> Purchase:
        """Ask for it as the app does: once, and again with whatever has to be acknowledged."""
        attestation = agreed_text("attestation")
        wish = purchasing.Wish(
            tune_id=offer.tune.pk,
            vehicle_id=ride.vehicle.pk,
            expected_price_minor=offer.tune.price_minor,
            currency=offer.tune.currency,
            attestation_version=attestation.version,
            attestation_accepted=True,
        )
        try:
            with transaction.atomic():
                return purchasing.begin_purchase(buyer=ride.owner, wish=wish, claim=Claim(), at=at)
        except AcknowledgementRequired as required:
            wish = replace(wish, acknowledged_reasons=tuple(required.members["required_reasons"]))
            return purchasing.begin_purchase(buyer=ride.owner, wish=wish, claim=Claim(), at=at)

    @staticmethod
    def _press(purchase: Purchase, outcome: str = "succeed") -> str:
        """What a person does on the stand-in's page; the payment's id."""
        states = (PaymentAttemptState.OPEN, PaymentAttemptState.SUCCEEDED)
        intent_id = PaymentAttempt.objects.get(purchase=purchase, state__in=states).intent_id or ""
        page = f"{settings.PAYMENTS_SANDBOX_URL.rstrip('/')}/pay/{intent_id}"
        answer = requests.post(page, data={"outcome": outcome}, timeout=PAY_TIMEOUT_SECONDS)
        answer.raise_for_status()
        return intent_id

    def _download_and_flash(self, ride: Ride, purchase: Purchase, *, fails: bool, at: datetime) -> None:
        request = grants.Request(buyer=ride.owner, purchase_id=purchase.pk, vehicle_id=ride.vehicle.pk, app_version="1.2.0")
        grant = grants.grant_download(request, claim=Claim(), at=at)
        if grant.ticket is None or ride.is_flashed:
            return
        variant = ride.family.variant(ride.market)
        ecu = {"hardware_number": variant.hardware_number, "calibration_id": variant.calibration_id}
        after = {**ecu, "calibration_id": grant.file["calibration_id_after"]}
        flashes.report_flash(
            reporter=ride.owner,
            id=new_id(),
            ticket_id=_ticket_id(grant.ticket),
            outcome="FAILED_BEFORE_WRITE" if fails else "SUCCEEDED",
            ecu_before=ecu,
            ecu_after=ecu if fails else after,
            app_version="1.2.0",
            flashed_at=at + HOUR,
            at=at + HOUR,
        )
        ride.is_flashed = not fails

    def change_their_minds(self) -> None:
        """Give up a purchase, sell a bike."""
        at = self.ago(3)
        purchase = self._begin(self.rides[0], next(each for each in self.offers if each.spec.category == "QUICKSHIFTER"), at=at)
        purchasing.cancel_purchase(buyer=purchase.buyer, purchase_id=purchase.pk, at=at + timedelta(minutes=9))
        garage.offer_transfer(owner=self.rides[-1].owner, vehicle_id=self.rides[-1].vehicle.pk, at=self.now - HOUR)

    def argue_about_money(self) -> None:
        """Refund, dispute, and talk about purchases in every state of a case."""
        paid = list(
            Purchase.objects.filter(status=PurchaseStatus.PAID, captured_minor__gt=0, paid_at__lte=self.now - 3 * DAY)
            .filter(first_grant__isnull=False)
            .select_related("buyer", "tuner__user")
            .order_by("-paid_at")[: 4 + len(TALKS)]
        )
        for purchase, resolution in zip(paid, ("FULL_REFUND", "PARTIAL_REFUND", "NO_REFUND"), strict=False):
            at = max(purchase.paid_at + DAY, self.ago(4))
            wish = refunds.request_refund(buyer=purchase.buyer, purchase_id=purchase.pk, reason=ASKED, claim=Claim(), at=at)
            refunds.decide_refund(
                case_id=wish.case_id,
                actor=self.admin,
                resolution=resolution,
                reason=DECIDED[resolution],
                amount_minor=purchase.captured_minor // 3 if resolution == "PARTIAL_REFUND" else None,
                at=at + 5 * HOUR,
            )
            refunds.send_refund(refund_id=wish.pk, at=at + 5 * HOUR)
        self._dispute(paid[3])
        for purchase, (kind, texts) in zip(paid[4:], TALKS, strict=False):
            at = max(purchase.paid_at + HOUR, self.ago(1))
            sides = {"rider": purchase.buyer, "tuner": purchase.tuner.user, "staff": self.admin}
            (who, first), *answers = texts
            case = cases.open_case(purchase_id=purchase.pk, kind=kind, text=first, by=sides[who], at=at)
            for step, (who, text) in enumerate(answers, start=1):
                cases.add_message(author=sides[who], case_id=case.pk, text=text, at=at + step * HOUR, wait_for=WAITS.get(text, ""))

    def _dispute(self, purchase: Purchase) -> None:
        """A payer's bank takes a payment back for now, a moment ago: its evidence waits for staff."""
        intent_id = self._press(purchase, "dispute")
        truth = next(iter(payments.list_disputes(intent_id=intent_id)))
        dispute = disputes.apply_dispute(truth=truth, at=self.now - HOUR)
        disputes.assemble_evidence(dispute_id=dispute.pk, at=self.now - HOUR)

    def pay_tuners(self) -> None:
        """Open payout accounts, and pay out what is due."""
        for tuner in TUNERS[:2]:
            account, url, _ = payout_accounts.open_onboarding(user=self.people[tuner.key], at=self.ago(20))
            page = f"{settings.PAYMENTS_SANDBOX_URL.rstrip('/')}/onboarding/{url.rsplit('/', 1)[1]}"
            requests.get(page, timeout=PAY_TIMEOUT_SECONDS).raise_for_status()
            requests.post(page, data={"outcome": "complete"}, timeout=PAY_TIMEOUT_SECONDS, allow_redirects=False).raise_for_status()
            payout_accounts.recheck_account(account_id=account.account_id or "", at=self.ago(19))
        monday = next_run_after(self.now) - PAYOUT_EVERY  # the last one; the worker sends what is reserved here
        payouts.make_payouts(at=monday)

    def stop_versions(self) -> None:
        """Recall one version, hold another, suspend a tuner."""
        for offer in self.offers:
            if offer.spec.story == "recalled":
                stops.recall_version(
                    actor=self.admin,
                    version_id=offer.version.pk,
                    severity="restore_stock",
                    reason="The rev limit is above the valve train's. Restore your stock file before you ride.",
                    at=self.ago(6),
                )
            elif offer.spec.story == "held":
                stops.hold_own_version(
                    author=offer.author,
                    version_id=offer.version.pk,
                    reason="A rider reports a rich idle; we are looking into it.",
                    at=self.ago(2),
                )
        suspended = next(tuner for tuner in TUNERS if tuner.about == "suspended")
        profile = TunerProfile.objects.get(user=self.people[suspended.key])
        tuners.suspend_tuner(
            tuner_id=profile.pk,
            actor=self.admin,
            reason="DOCUMENTS",
            note="The insurance policy that was handed in is not genuine.",
            at=self.ago(4),
        )

    # Files

    def look_around(self) -> None:
        """Save searches, and tell of a price that came down to one of them."""
        trending.refresh_trends(at=self.now)
        saved_searches.match_listing_changes(at=self.now)  # what was published before is no news
        for ride in self.rides[:6]:
            saved_searches.save_search(
                owner=ride.owner, name=f"New for my {ride.family.model}", query={}, vehicle_id=ride.vehicle.pk, at=self.ago(3)
            )
        offer = next(offer for offer in self.offers if offer.tune.price_minor and offer.spec.story == "published")
        price = offer.tune.price_minor * 9 // 10
        owner = next(ride.owner for ride in self.rides if not offer.tune.licenses.filter(holder=ride.owner).exists())
        query = {"tuner": str(offer.tune.tuner_id), "currency": offer.tune.currency, "max_price_minor": price}
        saved_searches.save_search(owner=owner, name="Worth the money", query=query, at=self.ago(2))
        listings.update_tune(author=offer.author, tune_id=offer.tune.pk, changes={"price_minor": price}, at=self.ago(1))
        saved_searches.match_listing_changes(at=self.now)
        saved_searches.tell_matches(at=self.now)

    def _upload(self, owner: User, purpose: str, name: str, content: bytes, content_type: str, *, at: datetime) -> UUID:
        """A READY upload, by the same steps as a phone's."""
        upload = uploads.start_upload(
            owner_id=owner.pk,
            purpose=purpose,
            name=name,
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            content_type=content_type,
            at=at,
        )
        storage.put_bytes(upload.storage_key, content, content_type)
        uploads.complete_upload(owner_id=owner.pk, upload_id=upload.pk, at=at)
        uploads.check_upload(upload_id=upload.pk, at=at)
        upload.refresh_from_db()
        if upload.state != UploadState.READY:
            raise DemoFailed(f"{name}: {upload.reasons}")
        return upload.pk

    def _forget_old_mails(self) -> None:
        """The story's notices stay in the app; their mails would arrive months late."""
        for stop in VersionStop.objects.all():
            stops.tell_stop(stop_id=stop.pk, at=self.now)
        DBTaskResult.objects.filter(task_path__in=DONE_ALREADY, status=TaskResultStatus.READY).delete()

    def _write_stock_images(self) -> None:
        directory = self.data_dir / "demo" / "stock"
        directory.mkdir(parents=True, exist_ok=True)
        index = []
        for family in FAMILIES:
            for market in family.markets:
                variant, image = family.variant(market), stock_image(family, market)
                name = f"{family.key}-{market.lower()}-{variant.calibration_id}.bin"
                (directory / name).write_bytes(image)
                index.append(
                    {
                        "file": name,
                        "kind": family.kind,
                        "make": family.make,
                        "model": family.model,
                        "year": 2021 if family.year_from <= 2021 <= family.year_to else family.year_from,
                        "market": market,
                        "hardware_number": variant.hardware_number,
                        "calibration_id": variant.calibration_id,
                        "image_size_bytes": len(image),
                        "sha256": hashlib.sha256(image).hexdigest(),
                        "journey": (family.key, market) == ("mt09", "EU"),
                    }
                )
        (directory / "index.json").write_text(json.dumps(index, indent=1, ensure_ascii=False), encoding="utf-8")

    def _write_accounts(self) -> None:
        order = {"ADMIN": 0, "TUNER": 1, "CREATOR": 2, "RIDER": 3}
        self.accounts.sort(key=lambda row: (order[row["role"]], row["about"] != ""))
        part = accounts_part(self.data_dir)
        part.touch(mode=0o600)
        part.write_text(json.dumps(self.accounts, indent=1, ensure_ascii=False), encoding="utf-8")


def accounts_part(data_dir: Path) -> Path:
    """The list of accounts before it counts: written inside the transaction, renamed after the commit."""
    return data_dir / "demo.json.part"


def finish(data_dir: Path) -> None:
    """Put `demo.json` in force. Killed between commit and rename, the next start calls it again."""
    accounts_part(data_dir).replace(data_dir / "demo.json")


def _markets_of(spec: DemoTune, family: EcuFamily) -> tuple[str, ...]:
    """For which markets a listing brings a file: all of them for the first tune of a family, its home market for others."""
    is_first = next(tune for tune in TUNES if tune.family == spec.family) is spec
    return family.markets if is_first or spec.price_cents == 0 else family.markets[:1]


def _password() -> str:
    return f"demo-{secrets.token_urlsafe(12)}"


def _price(cents: int, currency: str) -> int:
    if cents == 0:
        return 0
    return int(cents * PRICE_FACTOR[currency]) // 100 * 100 + (0 if currency == "JPY" else 90)


def _market_of(country: str, family: EcuFamily) -> str:
    """The market of a rider's vehicle: their country's, if the family is sold there."""
    market = {"US": "US", "CA": "CA", "JP": "JP", "GB": "UK"}.get(country, "EU")
    for candidate in (market, family.markets[0]):
        if any(candidate in family.sold_in(group) for group in family.markets):
            return candidate
    return family.markets[0]


def _ticket_id(envelope: dict) -> UUID:
    return UUID(signing.payload_of(envelope)["ticket_id"])


def _pdf(business_name: str, kind: str) -> bytes:
    """A page for a reviewer to look at: it says what it stands for, and that it is nobody's."""
    page = Image.new("L", (1240, 1754), 255)
    draw = ImageDraw.Draw(page)
    draw.rectangle((80, 80, 1160, 1674), outline=120, width=3)
    for y, size, text in (
        (200, 64, kind.replace("_", " ").capitalize()),
        (320, 44, business_name),
        (900, 30, "Specimen for the demo data. Not a document."),
    ):
        draw.text((160, y), text, fill=40, font=ImageFont.load_default(size))
    out = BytesIO()
    page.save(out, "PDF", resolution=150, title=f"{kind.replace('_', ' ').title()} of {business_name} (demo)")
    return out.getvalue()


def _cover(family: EcuFamily, spec: DemoTune) -> bytes:
    """A picture for the listing: a drawn power curve in the tuner's colour."""
    chance = random.Random(f"{spec.tuner}:{spec.family}:{spec.category}")
    hue = tuple(chance.randint(40, 200) for _ in range(3))
    image = Image.new("RGB", (640, 360), (18, 20, 24))
    draw = ImageDraw.Draw(image)
    for step in range(1, 6):
        draw.line([(40, 60 * step), (610, 60 * step)], fill=(44, 48, 54))
    for lift, colour in ((0, (120, 126, 134)), (26, hue)):
        points = [(40 + x * 5.7, 310 - 190 * (x / 100) ** 0.8 - lift * (x / 100) + 12 * (x > 88) * (x - 88) / 12) for x in range(101)]
        draw.line(points, fill=colour, width=5)
    draw.text((44, 16), f"{family.make} {family.model}", fill=(230, 232, 235))
    out = BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
