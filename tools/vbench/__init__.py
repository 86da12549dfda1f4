"""The virtual bench: a simulated ECU, the wire to it, and a reference app on the public API. See docs/virtual-bench.md.

`wire`, `ecu`, `phone`, `api` and `app` import nothing of RevSync but `tools/verify_download.py`: they are the example.
`network` damages what travels, `matrix` and `scenarios` let everything go wrong that can, and `report` counts how it ended.
"""
