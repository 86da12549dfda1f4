"""Tunes as everybody sees them, and a tuner's own listings."""

from typing import Any
from uuid import UUID

from rest_framework import exceptions as drf
from rest_framework.response import Response

from core.exceptions import FieldError, InvalidInput, NotAuthenticated, UnknownField
from core.meta import agreed_text
from core.pagination import decode_cursor, encode_cursor
from core.problems import flatten_errors
from core.serializers import ensure_type
from core.views import ApiView
from marketplace import view_tally
from marketplace.fitment import Verdict
from marketplace.selectors import browse, suggestions, tunes
from marketplace.selectors.fitment import get_vehicle_facts, judge_tune
from marketplace.serializers.tunes import EMPTY_REQUIREMENTS, TuneListQuery, render_own, render_row
from marketplace.services import favorites, listings
from tuners.selectors import get_tuner


class SqlPageView(ApiView):
    """A list whose statement is written by hand: cursors as everywhere else, rows to dicts without a Serializer."""

    def position(self, params: dict[str, Any], ordering: str) -> list[Any] | None:
        """The position behind which the page starts. Raises: InvalidInput for a cursor that is not this list's."""
        cursor = params.get("cursor")
        return None if cursor is None else decode_cursor(cursor, bound_to=f"{ordering}|{self.bound_to()}")

    def answer(self, results: list[dict], after: list[Any] | None, ordering: str) -> Response:
        """The page's envelope."""
        cursor = None if after is None else encode_cursor(after, bound_to=f"{ordering}|{self.bound_to()}")
        return Response({"next": self.next_url(cursor), "results": results})


    def page_of(self, rows: list[tuple], size: int, ordering: str) -> Response:
        """A page of rows of COLUMNS with their key of the order behind, read to one more than are shown."""
        page = rows[:size]
        after = [page[-1][browse.COLUMN_COUNT], page[-1][0]] if len(rows) > size else None
        return self.answer([render_row(row) for row in page], after, ordering)


class TuneListView(SqlPageView):
    _query = TuneListQuery()  # built once: making a serializer of twenty fields for each request costs as much as the SQL

    def get(self, request):
        """Tunes with a version on sale. All filters hold together, and those on vehicle and ECU hold for one fitment."""
        params = self.params()
        vehicle = None
        if "vehicle" in params:
            if request.user is None:
                raise NotAuthenticated
            vehicle = get_vehicle_facts(owner=request.user, vehicle_id=params["vehicle"])
        ordering = params.get("ordering") or ("relevance" if "q" in params else "newest")
        page = browse.list_tunes(
            params,
            ordering=ordering,
            after=self.position(params, ordering),
            page_size=params["page_size"],
            vehicle=vehicle,
            verdict=params.get("verdict"),
        )
        results = [render_row(row) for row in page.rows]
        if page.masks is not None:
            for result, mask in zip(results, page.masks, strict=True):
                result["fitment"] = Verdict(mask).as_dict()
        return self.answer(results, page.after, ordering)

    def post(self, request):
        """Make a listing. It stays a draft, seen by nobody else, until its first version is published."""
        body = self.body()
        images = body.pop("image_upload_ids", [])
        body.setdefault("requirements", dict(EMPTY_REQUIREMENTS))
        return self.create_once(
            lambda _claim: listings.create_tune(author=request.user, facts=body, image_upload_ids=images, at=self.at),
            render=lambda tune: own_tune(request.user, tune.pk),
            find=lambda tune_id: tunes.get_public_tune(tune_id, request.user),
        )

    def params(self) -> dict[str, Any]:
        """The same checks as everywhere, field by field, for the parameters that were sent only."""
        given = self.request.query_params
        attrs: dict[str, Any] = {"page_size": 20}
        errors: list[FieldError] = []
        fields = self._query.fields
        for name in given:
            field = fields.get(name)
            if field is None:
                raise UnknownField.parameter(name[:100], "unknown_field", "This parameter is not known.")
            if len(given.getlist(name)) > 1:
                raise InvalidInput.parameter(name, "repeated", "This parameter is given more than once.")
            if "\0" in given[name]:
                raise InvalidInput.parameter(name, "invalid", "A NUL character is not allowed.")
            try:
                ensure_type(field, given[name], in_query=True)
                attrs[name] = field.run_validation(given[name])
            except drf.ValidationError as exc:
                errors += flatten_errors(exc.detail, name, in_query=True)
        if not errors:
            try:
                self._query.validate(attrs)
            except drf.ValidationError as exc:
                errors += flatten_errors(exc.detail, in_query=True)
        if errors:
            raise InvalidInput(errors=errors)
        return attrs


class TuneDetailView(ApiView):
    def get(self, request, tune):
        """Everything about one tune. Signed in, `viewer` tells what you have to do with it."""
        (row, own, requirements, blocked_regions, fitments), viewer, author_id = tunes.get_tune_detail(tune, request.user)
        self._count_view(tune, status=own[0], author_id=author_id)
        text = agreed_text("attestation")
        shown = render_own(row, own)
        del shown["suspension_reason"], shown["suspension_note"]
        shown["requirements"] = {**shown["requirements"], **(requirements or {})}
        shown |= {
            "blocked_regions": blocked_regions,
            "fitments": fitments,
            "attestation": {"text_version": text.version, "text": text.text, "sha256": text.sha256},
        }
        if viewer is not None:
            shown["viewer"] = viewer
        return Response(shown)

    def _count_view(self, tune: UUID, *, status: str, author_id: UUID) -> None:
        """In memory: what counts says `marketplace.view_tally`."""
        request, user = self.request, self.request.user
        if request.method != "GET" or status not in tunes.PUBLIC or (user is not None and (user.pk == author_id or user.is_staff)):
            return
        if not view_tally.is_robot(request.META.get("HTTP_USER_AGENT", "")):
            view_tally.count(tune)

    def patch(self, request, tune):
        """Change an own listing's words, price or pictures. A published version's requirements stay as they were reviewed."""
        body = self.body()
        images = body.pop("image_upload_ids", None)
        listings.update_tune(
            author=request.user, tune_id=tune, changes=body, image_upload_ids=images, revision=self.revision(), at=self.at
        )
        return Response(own_tune(request.user, tune))

    def delete(self, request, tune):
        """Delete an own tune that nobody ever bought."""
        listings.delete_tune(author=request.user, tune_id=tune, at=self.at)
        return Response(status=204)


class TuneArchiveView(ApiView):
    def post(self, request, tune):
        """Take an own tune off the lists. Whoever owns it keeps it, with its downloads."""
        listings.archive_tune(author=request.user, tune_id=tune, at=self.at)
        return Response(own_tune(request.user, tune))


class TuneUnarchiveView(ApiView):
    def post(self, request, tune):
        """Put an own archived tune back on the lists."""
        listings.unarchive_tune(author=request.user, tune_id=tune, at=self.at)
        return Response(own_tune(request.user, tune))


class TuneFitmentView(ApiView):
    def get(self, request, tune):
        """How a tune fits one of your own vehicles: of all its versions on sale, the file that comes closest."""
        vehicle = get_vehicle_facts(owner=request.user, vehicle_id=self.params()["vehicle"])
        found = tunes.get_public_tune(tune, request.user)
        judged = judge_tune(tune_id=found.pk, calibration_ids_after=found.calibration_ids_after, vehicle=vehicle)
        if judged is None:
            return Response({"verdict": "unknown", "reasons": [NOT_ON_SALE], "version": None, "file": None})
        version = judged.version
        return Response(
            {
                **judged.as_dict(),
                "version": {"id": version.pk, "version": version.version, "published_at": version.published_at},
                "file": judged.file.pk,
            }
        )


NOT_ON_SALE = {"code": "not_on_sale", "detail": "No version of this tune is on sale, so there is nothing to compare."}


class TuneFacetsView(ApiView):
    def get(self, request):
        """Counts for the unfiltered set, or for one make or model; at most 1,000 each, and up to a minute old."""
        params = self.params()
        return Response(tunes.get_facets(make=params.get("make"), model=params.get("model"), at=self.at))


class TuneSuggestView(ApiView):
    def get(self, request):
        """What a rider may be typing: makes, models, tuners and titles that begin so, however spelled."""
        return Response({"results": suggestions.list_suggestions(self.params()["q"])})


class FavoriteView(ApiView):
    def put(self, request, tune):
        """Mark a tune. Repeating it changes nothing."""
        favorites.add_favorite(user=request.user, tune_id=tune, at=self.at)
        return Response(status=204)

    def delete(self, request, tune):
        """Unmark a tune. Repeating it changes nothing."""
        favorites.remove_favorite(user=request.user, tune_id=tune)
        return Response(status=204)


class FavoriteListView(SqlPageView):
    def get(self, request):
        """Your favourites, newest first."""
        params = self.params()
        rows = tunes.list_favorites(request.user, after=self.position(params, "newest"), page_size=params["page_size"])
        page, more = rows[: params["page_size"]], len(rows) > params["page_size"]
        results = [{"tune": render_row(row), "created_at": row[browse.COLUMN_COUNT]} for row in page]
        return self.answer(results, list(page[-1][browse.COLUMN_COUNT :]) if more else None, "newest")


class OwnTuneListView(SqlPageView):
    def get(self, request):
        """Your listings in every state, newest first."""
        params = self.params()
        rows = tunes.list_own_tunes(
            request.user, status=params.get("status"), after=self.position(params, "newest"), page_size=params["page_size"]
        )
        page, more = rows[: params["page_size"]], len(rows) > params["page_size"]
        results = [_render_own(row) for row in page]
        return self.answer(results, [results[-1]["created_at"], results[-1]["id"]] if more else None, "newest")


class TunerTuneListView(SqlPageView):
    def get(self, request, tuner):
        """A tuner's tunes on sale, newest first."""
        params = self.params()
        get_tuner(tuner)
        page = browse.list_tunes(
            {"tuner": tuner}, ordering="newest", after=self.position(params, "newest"), page_size=params["page_size"]
        )
        return self.answer([render_row(row) for row in page.rows], page.after, "newest")


def own_tune(author, tune_id) -> dict:
    """An own listing as its tuner sees it, read anew."""
    return _render_own(tunes.get_own_tune(author, tune_id))


def _render_own(row: tuple) -> dict:
    return render_own(row[: browse.COLUMN_COUNT], tunes.decode_own(row[browse.COLUMN_COUNT :]))
