"""Currencies: https://docs.stripe.com/currencies."""

# Those that we take, with their number of decimals and their smallest charge.
CURRENCIES = {
    "aud": (2, 50), "bhd": (3, 200), "brl": (2, 50), "cad": (2, 50), "chf": (2, 50), "czk": (2, 1500), "dkk": (2, 250), "eur": (2, 50),
    "gbp": (2, 30), "huf": (2, 17500), "inr": (2, 50), "jpy": (0, 50), "krw": (0, 50), "kwd": (3, 200), "mxn": (2, 1000), "nok": (2, 300),
    "nzd": (2, 50), "pln": (2, 200), "ron": (2, 200), "sek": (2, 300), "sgd": (2, 50), "thb": (2, 1000), "usd": (2, 50),
}  # fmt: skip
