"""The database backend: Django's for PostgreSQL, with a health check that asks the kernel first (`core.database.base`)."""
