"""The marketplace for staff, one module for each noun. Tables that are derived for search and lists are not shown."""

from marketplace.admin import cases, payouts, purchasing, reconciling, trust, tunes

__all__ = ["cases", "payouts", "purchasing", "reconciling", "trust", "tunes"]
