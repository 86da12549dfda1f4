"""Byte statistics: is there anything in the image, is it the same thing again and again, is it scrambled."""

import math

BLOCK_BYTES = 4096
BLANK_VALUES = (0x00, 0xFF)

# Of 4096 evenly random bytes the entropy is about 7.954; compressed or encrypted data is close to it, machine code is
# 5 to 6.8, maps are 2 to 6.
SCRAMBLED_BITS = 7.90


def entropy_bits(block: bytes) -> float:
    """Shannon entropy in bits per byte."""
    size = len(block)
    counts = (block.count(value) for value in range(256)) if size < 256 else _histogram(block)
    return -sum(count / size * math.log2(count / size) for count in counts if count)


def _histogram(block: bytes) -> list[int]:
    counts = [0] * 256
    for value in block:
        counts[value] += 1
    return counts


def measure(image: bytes) -> dict[str, float]:
    """Shares of the image between 0 and 1: `blank_share`, `repeated_share`, `scrambled_share`, and `entropy_bits`.

    Entropy is measured on at most 64 blocks spread evenly, so a 4 MiB image costs what a small one costs.
    """
    size = len(image)
    blank = sum(image.count(value) for value in BLANK_VALUES)
    blocks = [image[at : at + BLOCK_BYTES] for at in range(0, size - BLOCK_BYTES + 1, BLOCK_BYTES)] or [image]
    filled = [block for block in blocks if block.count(block[0]) != len(block)]
    distinct = len(set(filled))
    step = max(1, len(filled) // 64)
    sampled = [entropy_bits(block) for block in filled[::step]]
    return {
        "blank_share": round(blank / size, 4),
        "repeated_share": round(1 - distinct / len(filled), 4) if filled else 1.0,
        "scrambled_share": round(sum(bits >= SCRAMBLED_BITS for bits in sampled) / len(sampled), 4) if sampled else 0.0,
        "entropy_bits": round(sum(sampled) / len(sampled), 3) if sampled else 0.0,
    }
