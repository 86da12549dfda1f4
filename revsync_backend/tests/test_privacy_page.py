"""The page on personal data says what the registry says."""

import re
from pathlib import Path

from django.conf import settings

from revsync_backend.privacy_page import BLOCKERS, privacy_page
from users import privacy

ROOT = Path(settings.BASE_DIR)


def test_the_page_is_up_to_date():
    assert (ROOT / "docs" / "privacy.md").read_text(encoding="utf-8") == privacy_page(), "run `make openapi`"


def test_every_section_and_every_excuse_is_on_it():
    page = privacy_page()

    assert all(f"| `{holding.section}` |" in page for holding in privacy.holdings())
    assert all(excuse.reason in page for excuse in privacy.excuses())


def test_it_names_every_code_that_can_stand_in_the_way():
    source = "".join((ROOT / app / "personal_data.py").read_text() for app in ("users", "tuners", "garage", "marketplace"))
    body = "".join(re.findall(r"def _blockers\(.*?\n\n\ndef ", source, re.DOTALL))

    assert {code for code, _words in BLOCKERS} == set(re.findall(r'"([a-z]+(?:_[a-z]+)+)",', body))
