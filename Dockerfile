# The application from official images: web server, worker, schedule and migrations are the same image with another command.
# syntax=docker/dockerfile:1
FROM python:3.11.14-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
RUN python -m venv /opt/venv
COPY requirements.txt /tmp/requirements.txt
RUN /opt/venv/bin/pip install --no-compile -r /tmp/requirements.txt
WORKDIR /app
COPY manage.py ./
COPY revsync_backend ./revsync_backend
COPY core ./core
COPY users ./users
COPY tuners ./tuners
COPY garage ./garage
COPY marketplace ./marketplace
# Static files need no settings of production; the key signs nothing.
RUN SECRET_KEY=only-for-collecting-static-files STATIC_ROOT=/app/static /opt/venv/bin/python manage.py collectstatic --noinput \
    && find /app /opt/venv -type d -name tests -prune -exec rm -rf {} +

FROM python:3.11.14-slim-bookworm
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 MALLOC_ARENA_MAX=2 \
    REVSYNC_ENV=production REVSYNC_DATA_DIR=/data STATIC_ROOT=/app/static
RUN useradd --system --user-group --uid 10001 --home-dir /app --shell /usr/sbin/nologin revsync \
    && useradd --system --uid 10002 --gid revsync --home-dir /app --shell /usr/sbin/nologin signer \
    && install -d -o revsync -g revsync -m 700 /data \
    && install -d -o signer -g revsync -m 700 /keys \
    && install -d -o signer -g revsync -m 750 /signing /signing/socket
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
WORKDIR /app
USER 10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/livez', timeout=3)"]
# The settings are read once before the server starts, so that a bad one ends the container with its one line and status 1.
CMD ["sh", "-c", "python -c 'import revsync_backend.settings' && exec gunicorn revsync_backend.wsgi:application --bind 0.0.0.0:8000 --worker-class core.web_worker.BufferingWorker --workers ${WEB_WORKERS:-2} --threads ${WEB_THREADS:-4} --graceful-timeout 20 --timeout 60 --keep-alive 15 --no-control-socket"]
