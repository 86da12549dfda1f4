"""The WSGI application: what every web worker serves."""

import os

from django.core.wsgi import get_wsgi_application

from core.database import deadlines

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "revsync_backend.settings")

deadlines.install(statement_seconds=deadlines.WEB_SECONDS)
application = get_wsgi_application()
