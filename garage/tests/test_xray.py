"""X-ray: what one image changes in another, and that a report never gives bytes away."""

import json
import random
import resource

import pytest

from garage.ecu_images import Finding, XRay, generator, run_xray, xray
from garage.ecu_images.inspection import xray_bytes
from garage.ecu_images.records import scan_intel_hex, scan_s_record

KIBIBYTE = 1024
STOCK = generator.make_stock(seed=1, hardware_number="HW-1234", calibration_id="CAL-STOCK", size=128 * KIBIBYTE)
LAYOUT = generator.layout_of(STOCK)


def compare(image: bytes, base: bytes = STOCK) -> XRay:
    return xray.compare(base, image, base_sha256="0" * 64)


def with_bytes(at: int, data: bytes, image: bytes = STOCK) -> bytes:
    return image[:at] + data + image[at + len(data) :]


def rules(image: bytes) -> set[str]:
    return {finding.rule for finding in xray.judge(compare(image))}


class TestWhatIsSeen:
    def test_an_honest_tune(self):
        seen = compare(generator.make_tuned(STOCK, seed=7, calibration_id="CAL-TUNED"))

        assert seen.kinds["maps"] >= 4
        assert seen.kinds["text"] >= 1
        assert seen.checksums == {"kept": 1, "changed": 1}  # that of the code, that of the calibration
        assert "code" not in seen.kinds
        assert seen.share < 0.05
        assert {finding.rule for finding in xray.judge(seen)} == {"compared_with_stock"}

    def test_nothing_changed(self):
        assert rules(STOCK) == {"unchanged"}
        assert compare(STOCK).picture == "." * 256

    def test_changed_code(self):
        at = generator.CODE_OFFSET + 8 * KIBIBYTE
        assert "code_changed" in rules(with_bytes(at, bytes(byte ^ 0x5A for byte in STOCK[at : at + 32])))

    def test_a_checksum_that_was_forgotten_and_one_that_is_wrong(self):
        region = LAYOUT.maps[0]
        changed = with_bytes(region.values_offset, b"\x01\x02\x03\x04")
        assert "checksum_kept" in rules(changed)
        assert "checksum_broken" in rules(with_bytes(LAYOUT.checksum_offset, b"\x01\x02\x03\x04", changed))

    def test_a_crc_at_the_end_is_one_of_the_known_checksums(self):
        import zlib

        body = STOCK[:-20] + bytes(16)
        base, tuned = (part + zlib.crc32(part).to_bytes(4, "big") for part in (body, with_bytes(3000, b"\x07\x07", body)))
        assert compare(tuned, base).checksums == {"changed": 1}
        assert compare(with_bytes(3000, b"\x07\x07", base), base).checksums == {"broken": 1}

    def test_a_large_change(self):
        assert "large_change" in rules(random.Random(1).randbytes(64 * KIBIBYTE) + STOCK[64 * KIBIBYTE :])

    def test_text_counts_but_is_not_told(self):
        seen = compare(generator.make_tuned(STOCK, seed=7, calibration_id="SECRET-NUMBER"))
        assert seen.kinds["text"] >= 1
        assert "SECRET" not in json.dumps(seen.to_dict())

    @pytest.mark.parametrize("gap", [1, 8, 15, 16, 40])
    def test_near_changes_are_one_region(self, gap):
        at = LAYOUT.maps[3].values_offset
        image = with_bytes(at + gap + 1, bytes([STOCK[at + gap + 1] ^ 1]), with_bytes(at, bytes([STOCK[at] ^ 1])))
        assert compare(image).regions == (1 if gap < xray.CALM_BYTES else 2)

    @pytest.mark.parametrize("at", [0, len(STOCK) - 1])
    def test_the_first_and_the_last_byte_are_seen(self, at):
        seen = compare(with_bytes(at, bytes([STOCK[at] ^ 0xFF])))
        assert (seen.regions, seen.sizes, seen.listed[0].kilobyte) == (1, {"tiny": 1}, at // 1024)

    def test_it_travels_as_json(self):
        seen = compare(generator.make_tuned(STOCK, seed=7))
        assert XRay.from_dict(json.loads(json.dumps(seen.to_dict()))) == seen


class TestNoBytesGetOut:
    def test_other_values_in_the_same_places_look_the_same(self):
        """Ten thousand tunes share one report: so no report can be turned back into one of them."""
        region = LAYOUT.maps[2]
        chance = random.Random(4)

        def tuned() -> bytes:
            values = [(int.from_bytes(STOCK[at : at + 2], "big") + chance.randrange(1, 200)) & 0xFFFF for at in range(*span, 2)]
            return with_bytes(span[0], b"".join(value.to_bytes(2, "big") for value in values))

        span = region.values_offset, region.values_offset + 64
        reports = {json.dumps(compare(tuned()).to_dict(), sort_keys=True) for _ in range(50)}
        assert len(reports) <= 3  # the share differs in its second digit, when a low byte happens to stay

    def test_a_changed_byte_can_be_anywhere_in_its_kilobyte(self):
        """Trying every place against a chosen stock image tells a kilobyte, never an offset."""
        at = LAYOUT.maps[5].values_offset // 1024 * 1024
        seen = {json.dumps([vars(row) for row in compare(with_bytes(at + n, bytes([STOCK[at + n] ^ 1]))).listed]) for n in range(512, 640)}
        assert len(seen) == 1

    def test_the_summary_has_no_figure_of_this_image(self):
        summaries = {xray.summary(compare(generator.make_tuned(STOCK, seed=seed, maps=4))) for seed in range(20)}
        assert len(summaries) <= 2, summaries


class TestReadersAgree:
    @pytest.mark.parametrize("record_bytes", [1, 7, 16, 200])
    def test_the_scan_reads_what_the_decoder_reads(self, record_bytes):
        image = STOCK[: 16 * KIBIBYTE]
        for encode, scan in ((generator.to_intel_hex, scan_intel_hex), (generator.to_srecord, scan_s_record)):
            assert scan(encode(image, base=0x8000, record_bytes=record_bytes), keep=True).image(b"\xff") == image

    def test_formats_make_no_difference(self):
        tuned = generator.make_tuned(STOCK, seed=7)
        expected = xray_bytes(STOCK, tuned)
        assert isinstance(expected, XRay)
        assert xray_bytes(generator.to_intel_hex(STOCK), generator.to_srecord(tuned)) == expected

    @pytest.mark.parametrize("base", [b"", b"x", STOCK[:4096], b":00000001FF\n", generator.to_intel_hex(STOCK)[:5000]])
    def test_what_can_t_be_compared_is_a_warning(self, base):
        seen = xray_bytes(base, STOCK)
        assert isinstance(seen, Finding) and (seen.rule, seen.severity) == ("not_compared", "warning")


WORST = {
    "random against random": lambda: (random.Random(1).randbytes(4 << 20), random.Random(2).randbytes(4 << 20)),
    "every seventeenth byte": lambda: (bytes(4 << 20), (b"\x01" + bytes(16)) * ((4 << 20) // 17) + bytes((4 << 20) % 17)),
    "nothing but complements": lambda: (b"\x12\x34\x56\x78\xed\xcb\xa9\x87" * (1 << 19), bytes(4 << 20)),
    "zeros and ones": lambda: (b"\x00\x00\x00\x00\xff\xff\xff\xff" * (1 << 19), random.Random(3).randbytes(4 << 20)),
    "two large HEX files": lambda: (
        generator.to_intel_hex(STOCK * 32, record_bytes=16),
        generator.to_intel_hex(generator.make_tuned(STOCK, seed=1) * 32, record_bytes=16),
    ),
}


class TestTheChildProcess:
    @pytest.mark.parametrize("make", WORST.values(), ids=WORST.keys())
    def test_the_worst_pairs_stay_within_the_limits(self, make, tmp_path):
        paths = tmp_path / "base", tmp_path / "image"
        for path, data in zip(paths, make(), strict=True):
            path.write_bytes(data)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)

        seen = run_xray(*paths)

        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert isinstance(seen, XRay), seen
        assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2

    def test_a_limit_is_a_warning(self, tmp_path):
        path = tmp_path / "image"
        path.write_bytes(STOCK)
        seen = run_xray(path, path, memory_bytes=24 << 20)
        assert isinstance(seen, Finding) and seen.severity == "warning"
        with pytest.raises(TimeoutError):
            run_xray(path, path, timeout_seconds=0.001)
