#!/usr/bin/env python
"""Write docs/problems.md, docs/endpoints.md and docs/privacy.md from the code. `make openapi` calls it."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "revsync_backend.settings")
    import django

    django.setup()
    from revsync_backend import privacy_page, reference
    from revsync_backend.urls import all_endpoints

    endpoints = all_endpoints()
    (ROOT / "docs" / "problems.md").write_text(reference.problems_page(endpoints), encoding="utf-8")
    (ROOT / "docs" / "endpoints.md").write_text(reference.endpoints_page(endpoints), encoding="utf-8")
    (ROOT / "docs" / "privacy.md").write_text(privacy_page.privacy_page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
