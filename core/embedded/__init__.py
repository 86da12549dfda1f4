"""The embedded stack: a real database, a real S3 server, a stand-in for payments, and the supervisor that runs them.

Nothing here imports Django. Production never uses it: `core.settings_check` refuses an embedded server there.
"""
