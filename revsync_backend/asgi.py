"""The ASGI application, for hosts that ask for one. The project is measured and run under WSGI (docs/stack.md)."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "revsync_backend.settings")

application = get_asgi_application()
