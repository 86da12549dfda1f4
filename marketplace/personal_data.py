"""What the marketplace holds about a person. The books stay, pseudonymous: what identifies a vehicle in them goes."""

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q, Sum

from core.storage import PUBLIC
from marketplace.enums import LedgerAccount, PurchaseStatus, TuneStatus, VersionStatus
from marketplace.exceptions import TuneInUse, TuneSuspended
from marketplace.models import (
    Case,
    CaseAttachment,
    Dispute,
    Favorite,
    Flash,
    LedgerEntry,
    Payout,
    Purchase,
    Refund,
    SearchPhrase,
    StoredFileCheck,
    Tune,
    TuneFile,
    TuneVersion,
)
from marketplace.services.listings import delete_tune
from marketplace.services.refunds import withdraw_wishes
from tuners.models import TunerProfile
from users.models import Notice, User
from users.privacy import BOOKS_ARE_KEPT_FOR, AtDeletion, Blocker, Excuse, Holding, Provider, StoredFile

BOOKS = "the books must be kept for ten years; they name the account by an opaque id"
PROOF = "they prove which bytes were handed out and written, under opaque ids"
WHILE_ON_A_VEHICLE = "no vehicle can have the tune any more"
SOLD = "who bought the tune keeps it"

# words of the name that no listed tune has any more; the configuration is the one that the words were made with
_FORGET_WORDS = """
DELETE FROM marketplace_searchword held
 WHERE held.word = ANY (tsvector_to_array(to_tsvector('revsync_search', marketplace_words(%s))))
   AND NOT EXISTS (SELECT 1 FROM marketplace_searchrow row WHERE row.document @@ quote_literal(held.word)::tsquery)
"""


def _stats(user_id: UUID) -> dict[str, int]:
    return {
        "favorites": Favorite.objects.filter(user_id=user_id).count(),
        "flashes": Flash.objects.filter(reporter_id=user_id).count(),
        "purchases": Purchase.objects.filter(buyer_id=user_id).ever_paid().count(),
    }


def _blockers(user_id: UUID) -> Iterator[Blocker]:
    """Money on its way and tunes on sale are wound down first: afterwards nobody could."""
    tunes, sales = Tune.objects.filter(tuner__user_id=user_id), Purchase.objects.filter(tuner__user_id=user_id)
    owed = LedgerEntry.objects.filter(tuner__user_id=user_id, account=LedgerAccount.TUNER).values("currency")
    counts = (
        (
            "purchases_pending",
            "Cancel the purchases that wait for payment, or pay them.",
            Purchase.objects.filter(buyer_id=user_id, status=PurchaseStatus.PENDING).count(),
        ),
        (
            "disputes_open",
            "A payment of yours is disputed at your bank: wait until it has decided.",
            Dispute.objects.filter(purchase__buyer_id=user_id, ended_at=None).count(),
        ),
        (
            "refunds_owed",
            "A refund to you came back, and we owe it to you: tell us in its case where to pay it.",
            Refund.objects.owed().filter(purchase__buyer_id=user_id).count(),
        ),
        (
            "cases_open",
            "Cases about your sales are open: wait until they are resolved.",
            Case.objects.open().filter(purchase__tuner__user_id=user_id).count(),
        ),
        ("tunes_published", "Archive your published tunes.", tunes.filter(status=TuneStatus.PUBLISHED).count()),
        (
            "versions_in_review",
            "Cancel the review of your versions.",
            TuneVersion.objects.filter(tune__in=tunes, status=VersionStatus.IN_REVIEW).count(),
        ),
        (
            "sales_open",
            "Sales of yours wait for payment or are disputed: wait until they are settled.",
            sales.filter(status__in=[PurchaseStatus.PENDING, PurchaseStatus.DISPUTED]).count(),
        ),
        (
            "balance_not_settled",
            "Your balance is not zero: wait until it is paid out, or settle what you owe.",
            owed.annotate(total=Sum("amount_minor")).exclude(total=0).count(),
        ),
        (
            "payouts_open",
            "Payouts to you are on their way: wait until they have arrived.",
            Payout.objects.filter(tuner__user_id=user_id).under_way().count(),
        ),
    )
    yield from (Blocker(code, detail, count) for code, detail, count in counts if count)


def _files(user_id: UUID) -> Iterator[StoredFile]:
    for row in CaseAttachment.objects.filter(message__author_user_id=user_id).order_by("pk").iterator(chunk_size=500):
        yield StoredFile("case_attachments", str(row.pk), row.name, row.storage_key)
    for row in TuneFile.objects.filter(version__tune__tuner__user_id=user_id).order_by("pk").iterator(chunk_size=500):
        yield StoredFile("tune_files", str(row.pk), row.name, row.storage_key)
    for pk, images in Tune.objects.filter(tuner__user_id=user_id).exclude(images=[]).values_list("pk", "images"):
        for image in images:
            yield StoredFile("tunes", str(pk), "image.webp", image["key"], PUBLIC)


def _needed_keys(keys: set[str]) -> set[str]:
    """Files and pictures of tunes that somebody owns stay, and bytes that another tuner uploaded as well."""
    shown = Tune.objects.exclude(images=[]).filter(_shows_one_of(keys)).values_list("images", flat=True) if keys else []
    return {
        *TuneFile.objects.filter(storage_key__in=keys).values_list("storage_key", flat=True),
        *(image["key"] for images in shown for image in images if image["key"] in keys),
    }


def _shows_one_of(keys: set[str]) -> Q:
    one_of = Q(pk__in=[])
    for key in keys:
        if key.startswith("images/"):
            one_of |= Q(images__contains=[{"key": key}])
    return one_of


def _prepare(user_id: UUID, *, at: datetime) -> None:
    """Close a rider's cases; delete what nobody bought of a tuner, take the rest off sale, and forget the name in search."""
    withdraw_wishes(user_id=user_id, at=at)
    profile = TunerProfile.objects.filter(user_id=user_id).first()
    if profile is None:
        return
    author = User.objects.get(pk=user_id)
    Tune.objects.filter(tuner=profile, status=TuneStatus.PUBLISHED).update(status=TuneStatus.ARCHIVED, archived_at=at, updated_at=at)
    offered = Tune.objects.filter(tuner=profile).values_list("pk", flat=True)
    Notice.objects.filter(dedupe_key__in=[f"new-tune:{pk}" for pk in offered]).delete()  # they say by whom it is
    for tune in Tune.objects.filter(tuner=profile).order_by("pk"):
        keys = list(TuneFile.objects.filter(version__tune=tune).values_list("storage_key", flat=True))
        try:
            with transaction.atomic():
                delete_tune(author=author, tune_id=tune.pk, at=at)
        except (TuneInUse, TuneSuspended):
            # what was flashed for a test stays: its tickets prove which bytes were written
            TuneVersion.objects.filter(tune=tune, published_at=None, tickets=None).exclude(status=VersionStatus.IN_REVIEW).delete()
            continue
        SearchPhrase.objects.filter(kind=SearchPhrase.Kind.TUNE, text=tune.title).exclude(
            text__in=Tune.objects.filter(listed=True, title=tune.title).values("title")
        ).delete()
        StoredFileCheck.objects.filter(pk__in=keys).exclude(pk__in=TuneFile.objects.values("storage_key")).delete()
    SearchPhrase.objects.filter(kind=SearchPhrase.Kind.TUNER, text=profile.business_name).delete()
    with connection.cursor() as cursor:
        cursor.execute(_FORGET_WORDS, [profile.business_name])


BUYER, SELLER = "purchase__buyer_id", "tune__tuner__user_id"

PROVIDER = Provider(
    name="marketplace",
    stats=_stats,
    blockers=_blockers,
    files=_files,
    needed_keys=_needed_keys,
    prepare=_prepare,
    holdings=(
        Holding("marketplace.Favorite", of="user_id", section="favorites", why="Tunes that the person marked.",
                at_deletion=AtDeletion.DELETED),
        Holding("marketplace.SavedSearch", of="owner_id", section="saved_searches", why="What the person wants to be told of.",
                at_deletion=AtDeletion.DELETED, withheld="scope_id reading"),
        Holding("marketplace.SavedSearchMatch", of="search__owner_id", section="saved_search_matches",
                why="Who was told of a tune is not told again.", at_deletion=AtDeletion.DELETED),
        Holding("marketplace.StopAcknowledgement", of="user_id", section="recall_acknowledgements",
                why="Who has read a recall need not be told again.", at_deletion=AtDeletion.DELETED),
        Holding(
            "marketplace.Purchase", of="buyer_id", section="purchases", why="What was bought, for how much, on which terms.",
            at_deletion=AtDeletion.BLANKED, blank={"vehicle_identity_hashes": []},
            stays="number buyer tune tune_version_id tuner tune_title seller_name vehicle_id vehicle_name currency tax_country "
            "fitment_verdict acknowledged_reasons attestation_text_version attestation_sha256",
            because=BOOKS, until=BOOKS_ARE_KEPT_FOR, withheld="vehicle_identity_hashes fee_basis_points fee_minor",
        ),
        Holding(
            "marketplace.Purchase", of="tuner__user_id", section="sales", why="What was sold; the buyer's receipt names the seller.",
            at_deletion=AtDeletion.KEPT,
            stays="number buyer tune tune_version_id tuner tune_title seller_name vehicle_id vehicle_name currency tax_country "
            "fitment_verdict acknowledged_reasons attestation_text_version attestation_sha256",
            because="receipts must name the business that sold, for ten years", until=BOOKS_ARE_KEPT_FOR,
            withheld="buyer vehicle_id vehicle_name vehicle_identity_hashes acknowledged_reasons",
        ),
        Holding(
            "marketplace.License", of="holder_id", section="licenses", why="The right to flash a tune on one vehicle.",
            at_deletion=AtDeletion.BLANKED, blank={"vehicle_identity_hashes": []}, stays="purchase holder tune vehicle_id",
            because=BOOKS, until=BOOKS_ARE_KEPT_FOR, withheld="vehicle_identity_hashes",
        ),
        Holding(
            "marketplace.PaymentAttempt", of=BUYER, section="payment_attempts", why="A lost answer of the provider must be found again.",
            at_deletion=AtDeletion.BLANKED, blank={"client_secret": None}, stays="purchase intent_id last_error_code",
            because=BOOKS, until=BOOKS_ARE_KEPT_FOR, withheld="client_secret",
        ),
        Holding(
            "marketplace.Refund", of=BUYER, section="refunds", why="What was given back, and who decided.", at_deletion=AtDeletion.KEPT,
            stays="purchase case currency asked_by_id decided_by_id provider_refund_id failure_code repaid_by_id",
            because=BOOKS, until=BOOKS_ARE_KEPT_FOR, withheld="decided_by_id repaid_by_id",
        ),
        Holding(
            "marketplace.Dispute", of=BUYER, section="disputes", why="A bank's question about a payment, and what it was answered.",
            at_deletion=AtDeletion.BLANKED, blank={"evidence": {}, "evidence_text": ""},
            stays="purchase provider_dispute_id intent_id reason currency submitted_by_id",
            because=BOOKS, until=BOOKS_ARE_KEPT_FOR, withheld="submitted_by_id",
        ),
        Holding(
            "marketplace.CaseAttachment", of="message__author_user_id", section="case_attachments", why="Files sent with a message.",
            at_deletion=AtDeletion.DELETED, withheld="storage_key",
        ),
        Holding(
            "marketplace.CaseMessage", of="author_user_id", section="case_messages", why="What the person wrote about a purchase.",
            at_deletion=AtDeletion.BLANKED, blank={"text": "", "fingerprint": bytes(32)}, stays="case author_user",
            because="the others' answers, and what was decided, stand beside it", until=BOOKS_ARE_KEPT_FOR, withheld="fingerprint",
        ),
        Holding(
            "marketplace.Case", of=BUYER, section="cases", why="A conversation about a purchase, and what was decided.",
            at_deletion=AtDeletion.KEPT, stays="purchase opened_by_id flash_id resolution_reason resolved_by_id",
            because=BOOKS, until=BOOKS_ARE_KEPT_FOR, withheld="opened_by_id resolved_by_id",
        ),
        Holding(
            "marketplace.Case", of="purchase__tuner__user_id", section="cases_about_sales", why="A conversation about a sale.",
            at_deletion=AtDeletion.KEPT, stays="purchase opened_by_id flash_id resolution_reason resolved_by_id",
            because=BOOKS, until=BOOKS_ARE_KEPT_FOR, withheld="opened_by_id resolved_by_id",
        ),
        Holding(
            "marketplace.LedgerSet", of=BUYER, section="ledger_sets", why="Why money moved.", at_deletion=AtDeletion.KEPT,
            stays="cause_id purchase currency tax_country", because=BOOKS, until=BOOKS_ARE_KEPT_FOR,
        ),
        Holding(
            "marketplace.LedgerEntry", of="tuner__user_id", section="ledger_entries", why="What the tuner was owed.",
            at_deletion=AtDeletion.KEPT, stays="set tuner purchase currency", because=BOOKS, until=BOOKS_ARE_KEPT_FOR,
        ),
        Holding(
            "marketplace.PayoutAccount", of="tuner__user_id", section="payout_account",
            why="Where a tuner is paid: the payment provider's opaque id. Who they are and their bank only the provider knows.",
            at_deletion=AtDeletion.BLANKED, blank={"requirements_due": []}, stays="tuner account_id disabled_reason",
            because=BOOKS, until=BOOKS_ARE_KEPT_FOR,
        ),
        Holding(
            "marketplace.Payout", of="tuner__user_id", section="payouts", why="What a tuner was paid.", at_deletion=AtDeletion.KEPT,
            stays="tuner account currency transfer_id bank_payout_id reversal_id failure_code note", because=BOOKS,
            until=BOOKS_ARE_KEPT_FOR,
        ),
        Holding(
            "marketplace.PayoutLine", of="payout__tuner__user_id", section="payout_lines", why="Which shares a payout paid.",
            at_deletion=AtDeletion.KEPT, stays="payout entry", because=BOOKS, until=BOOKS_ARE_KEPT_FOR,
        ),
        Holding(
            "marketplace.Download", of="buyer_id", section="downloads", why="The audit log of downloads.", at_deletion=AtDeletion.KEPT,
            stays="purchase buyer code grant vehicle_id version file ticket_blockers device_key app_version session_id",
            because=PROOF, ends=WHILE_ON_A_VEHICLE,
        ),
        Holding(
            "marketplace.GrantedPurchase", of=BUYER, section="first_grants", why="Whether bytes were ever handed out.",
            at_deletion=AtDeletion.KEPT, stays="purchase", because=PROOF, ends=WHILE_ON_A_VEHICLE,
        ),
        Holding(
            "marketplace.FlashTicket", of="holder_id", section="flash_tickets",
            why="A signed permission to flash. Its body is not stored: the identity tag in it could be guessed.",
            at_deletion=AtDeletion.KEPT,
            stays="grant purchase license holder vehicle_id readout_id version file device_key payload_sha256 keyid",
            because=PROOF, ends=WHILE_ON_A_VEHICLE, withheld="status_version_min",
        ),
        Holding(
            "marketplace.Flash", of="reporter_id", section="flashes", why="What happened when somebody flashed.",
            at_deletion=AtDeletion.KEPT,
            stays="ticket reporter vehicle_id version ecu_before ecu_after app_version license_state fingerprint",
            because=PROOF, ends=WHILE_ON_A_VEHICLE, withheld="fingerprint counts_as_hard_failure",
        ),
        Holding(
            "marketplace.Tune", of="tuner__user_id", section="tunes", why="What a tuner offers.", at_deletion=AtDeletion.KEPT,
            stays="tuner title description currency requirements dyno images suspension_note latest_version fuel_scale fitment_summary "
            "calibration_ids_after",
            because=f"{SOLD}; tunes that nobody bought are deleted", ends="nobody owns it",
        ),
        Holding(
            "marketplace.TuneVersion", of=SELLER, section="tune_versions", why="What a tuner offers.", at_deletion=AtDeletion.KEPT,
            stays="tune version changelog change_summary certification_number blocked_regions tags requirements required_part_keys "
            "forbidden_part_keys inspection_findings reviewer review_note approved_sha256",
            because=f"{SOLD}; unpublished ones are deleted", ends="nobody owns it", withheld="reviewer",
        ),
        Holding(
            "marketplace.TuneFile", of="version__tune__tuner__user_id", section="tune_files", why="The reviewed bytes.",
            at_deletion=AtDeletion.KEPT,
            stays="version upload_id stock_upload_id name sha256 format image_sha256 storage_key calibration_id_after detected "
            "inspection_findings",
            because=f"{SOLD}; unpublished ones are deleted", ends="nobody owns it", withheld="storage_key",
        ),
    ),
    excuses=(
        Excuse("marketplace.BrowseRow", "*", "Derived from tunes for the lists; gone with the listing."),
        Excuse("marketplace.ListingChange", "*", "Which tunes changed, until saved searches were compared."),
        Excuse("marketplace.TuneViews", "*", "How often a tune was looked at on a day: a number, and nobody in it."),
        Excuse("marketplace.TrendRow", "*", "How much tunes are taken up, in sums over accounts; gone with the listing."),
        Excuse("marketplace.SearchRow", "*", "Words of listed tunes, their tuner's name too; gone with the listing."),
        Excuse("marketplace.SearchWord", "*", "Single words of listed tunes; a deleted tuner's name is taken out."),
        Excuse("marketplace.SearchPhrase", "*", "Names of makes, models, tuners and tunes; a deleted tuner's are taken out."),
        Excuse("marketplace.WebhookEvent", "*", "The provider's opaque ids of payments."),
        Excuse("marketplace.ProviderWatch", "*", "Up to when we looked."),
        Excuse("marketplace.ProviderDifference", "*", "The provider's opaque ids of payments."),
        Excuse("marketplace.ParkedReturn", "*", "The provider's opaque ids of what went back of such payments."),
        Excuse("marketplace.FlashGroup", "*", "Sums over five riders and more of one model, who are not told apart."),
        Excuse("marketplace.GroupedFlash", "*", "Which flashes a sum is of, under opaque ids; nobody is shown it."),
        Excuse("marketplace.FileXRay", "*", "What one image changes in another, in counts and classes; gone with the file."),
        Excuse("marketplace.Release", "*", "A signed document about a file; its reviewer is a keyed pseudonym."),
        Excuse("marketplace.VersionStop", "*", "Why a version was stopped, for its riders; staff and tuners by opaque id."),
        Excuse("marketplace.StatusDocument", "*", "Which releases are stopped."),
        Excuse("marketplace.AppVersionBlock", "*", "Versions of the app."),
        Excuse("marketplace.CounterFloor", "*", "From which release on a tune is still flashed; who decided stands in the audit log."),
        Excuse("marketplace.RevokedKey", "*", "Ids of our own signing keys."),
        Excuse("marketplace.StoredFileCheck", "*", "Hashes of stored tune files."),
        Excuse("marketplace.Fitment", "*", "Ranges of vehicles that a file serves, nobody's own."),
    ),
)  # fmt: skip
