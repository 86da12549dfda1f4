"""The demo data: a small trade that looks like the real one, told through the same services as everything else.

`ecus`, `people` and `listings` say what there is; `loader` makes it happen. Names, part numbers and images are invented.
"""
