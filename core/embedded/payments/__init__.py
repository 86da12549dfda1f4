"""The stand-in payment server: a process of its own that speaks the part of Stripe's API that RevSync uses.

It imports nothing of Django or of the applications, keeps its own SQLite file, and can be killed at any moment.
`docs/payments-stand-in.md` lists what it does, which page of Stripe's documentation each behaviour follows, and
where it differs. Production refuses it.
"""
