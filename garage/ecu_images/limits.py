"""How large and how scattered a file may be. Real images are 32 KB to 4 MB; as text they are about 2.8 times that."""

MEBIBYTE = 1024 * 1024

MAX_FILE_BYTES = 16 * MEBIBYTE
MAX_IMAGE_BYTES = 4 * MEBIBYTE
MIN_IMAGE_BYTES = 4 * 1024

# A record of Intel HEX holds at most 255 data bytes (521 characters), one of S-record 252 (514 with its ends).
MAX_LINE_BYTES = 544

# Runs of addresses that follow each other. Real files have a handful (boot, calibration, program); a decoder pays for
# each fragment, and tens of thousands of them only ever come from somebody who wants it to.
MAX_FRAGMENTS = 512

# A 4 MiB image in records of 16 bytes has 262,144 of them; millions of tiny or blank lines only cost time.
MAX_LINES = 300_000

CHILD_CPU_SECONDS = 2
CHILD_MEMORY_BYTES = 160 * MEBIBYTE
CHILD_WALL_SECONDS = 30.0  # for the machine's sake, not the file's: a busy one gives two seconds of computing late
