"""What a stranger's file may be: decoded for certain, or refused with a sentence that names what it is."""

import hashlib
import os
import subprocess
import sys
import time

import pytest

from garage.ecu_images import compare_claims, decoded_image, generator, inspect_bytes, limits, run_inspection
from garage.ecu_images.report import BIN, INTEL_HEX, PASS, REFUSED, S_RECORD, Inspection

KIBIBYTE = 1024
STOCK = generator.make_stock(seed="tests", hardware_number="1SD-8591A", calibration_id="MT09EU21A", size=128 * KIBIBYTE)


def hex_record(kind, address, data=b""):
    body = bytes((len(data), address >> 8, address & 0xFF, kind)) + data
    return b":" + (body + bytes((-sum(body) & 0xFF,))).hex().upper().encode() + b"\n"


def s_record(kind, address, data=b""):
    body = bytes((len(address) + len(data) + 1,)) + address + data
    return b"S" + kind + (body + bytes((~sum(body) & 0xFF,))).hex().upper().encode() + b"\n"


END = hex_record(1, 0)


def hex_file(*records):
    return b"".join(records) + END


def errors(report):
    return [finding.rule for finding in report.findings if finding.severity == "error"]


def rules(report):
    return [finding.rule for finding in report.findings]


class TestFormats:
    @pytest.mark.parametrize(
        ("encode", "format"),
        [(bytes, BIN), (generator.to_intel_hex, INTEL_HEX), (generator.to_srecord, S_RECORD)],
    )
    def test_every_format_decodes_to_the_same_image(self, encode, format):
        data = encode(STOCK)

        report = inspect_bytes(data)

        assert (report.verdict, report.format) == (PASS, format)
        assert (report.size_bytes, report.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert (report.image.base, report.image.size_bytes) == (0, len(STOCK))
        assert report.image.sha256 == hashlib.sha256(STOCK).hexdigest()

    @pytest.mark.parametrize("encode", [generator.to_intel_hex, generator.to_srecord])
    @pytest.mark.parametrize("record_bytes", [1, 7, 16, 128, 200])
    def test_record_length_and_base_address_do_not_change_the_image(self, encode, record_bytes):
        image = STOCK[: 8 * KIBIBYTE]

        base, decoded = decoded_image(encode(image, base=0x80020000, record_bytes=record_bytes))

        assert (base, decoded) == (0x80020000, image)

    @pytest.mark.parametrize("ending", [b"\r\n", b"\n\n", b" \n"])
    def test_line_ends_do_not_matter(self, ending):
        text = generator.to_intel_hex(STOCK).replace(b"\n", ending)

        assert decoded_image(text) == (0, STOCK)

    def test_lower_case_hex_and_a_byte_order_mark_are_read(self):
        text = b"\xef\xbb\xbf" + generator.to_intel_hex(STOCK).lower()

        assert decoded_image(text) == (0, STOCK)

    def test_segment_addresses_are_read(self):
        part = STOCK[: 4 * KIBIBYTE]
        records = [hex_record(2, 0, b"\x10\x00")]
        records += [hex_record(0, at, part[at : at + 16]) for at in range(0, len(part), 16)]

        assert decoded_image(hex_file(*records)) == (0x10000, part)

    def test_gaps_become_erased_memory_and_are_told(self):
        part = STOCK[: 4 * KIBIBYTE]
        records = [hex_record(0, at, part[at : at + 32]) for at in range(0, 4096, 32) if at != 1024]

        report = inspect_bytes(hex_file(*records))

        assert "gaps_filled" in rules(report)
        assert decoded_image(hex_file(*records)) == (0, part[:1024] + b"\xff" * 32 + part[1056:])

    def test_records_in_any_order_are_one_image(self):
        part = STOCK[: 4 * KIBIBYTE]
        records = [hex_record(0, at, part[at : at + 255]) for at in range(0, 4096, 255)]

        assert decoded_image(hex_file(*reversed(records))) == (0, part)

    def test_a_name_does_not_make_a_binary_into_text(self):
        assert inspect_bytes(STOCK, name="tune.hex").format == BIN

    def test_a_report_survives_its_own_json_form(self):
        report = inspect_bytes(STOCK)

        assert Inspection.from_dict(report.to_dict()) == report


class TestDamage:
    TEXT = generator.to_intel_hex(STOCK[: 8 * KIBIBYTE])
    S_TEXT = generator.to_srecord(STOCK[: 8 * KIBIBYTE])

    @pytest.mark.parametrize("text", [TEXT, S_TEXT], ids=["hex", "srec"])
    def test_a_wrong_checksum_is_refused_where_it_is(self, text):
        at = text.index(b"\n", 2000) + 20
        digit = b"0" if text[at : at + 1] != b"0" else b"1"
        damaged = text[:at] + digit + text[at + 1 :]

        report = inspect_bytes(damaged)

        assert errors(report) == ["record_checksum"]
        assert report.findings[-1].offset == text.rindex(b"\n", 0, at) + 1

    @pytest.mark.parametrize("text", [TEXT, S_TEXT], ids=["hex", "srec"])
    def test_a_file_cut_between_records_is_refused(self, text):
        assert errors(inspect_bytes(text[: text.index(b"\n", 3000) + 1])) == ["truncated"]

    @pytest.mark.parametrize("text", [TEXT, S_TEXT], ids=["hex", "srec"])
    @pytest.mark.parametrize("cut", [20, 21])
    def test_a_file_cut_inside_a_record_is_refused(self, text, cut):
        cut_at = text.index(b"\n", 3000) + cut

        assert errors(inspect_bytes(text[:cut_at]))[0] in ("record_length", "record_malformed")

    @pytest.mark.parametrize(
        ("text", "rule"),
        [
            (hex_file(hex_record(0, 0, b"a" * 16), hex_record(0, 8, b"b" * 16)), "records_overlap"),
            (hex_file(hex_record(2, 0, b"\x10\x00"), hex_record(4, 0, b"\x00\x01"), hex_record(0, 0, b"a")), "mixed_addressing"),
            (hex_file(), "no_data"),
            (hex_file(hex_record(0, 0, b"a")) + hex_record(0, 1, b"b"), "data_after_end"),
            (hex_file(hex_record(9, 0, b"a")), "record_malformed"),
            (hex_file(hex_record(4, 0, b"\x00")), "record_length"),
            (hex_file(hex_record(5, 0, b"\x00")), "record_length"),
            (hex_record(0, 0, b"a") + b"00000001FF\n", "record_malformed"),
            (hex_record(0, 0, b"a" * 16) + b":10 0000\n", "record_malformed"),
            (hex_record(0, 0, b"a" * 16) + b":\n", "record_length"),
            (s_record(b"1", b"\x00\x00", b"a") + s_record(b"5", b"\x00\x02") + s_record(b"9", b"\x00\x00"), "record_count"),
            (s_record(b"1", b"\x00\x00", b"a") + b"S400\n", "record_malformed"),
            (s_record(b"1", b"\x00\x00", b"a") + b"S\n", "record_malformed"),
            (s_record(b"0", b"\x00\x00", b"a") + s_record(b"9", b"\x00\x00"), "no_data"),
            (s_record(b"0", b"\x00\x00", b"a") + b"S3\xff\xff\n", "record_malformed"),
        ],
    )
    def test_every_other_irregularity_has_its_own_rule(self, text, rule):
        assert errors(inspect_bytes(text)) == [rule]

    def test_an_empty_file_is_refused(self):
        assert errors(inspect_bytes(b"")) == ["empty_file"]

    @pytest.mark.parametrize(("size", "rule"), [(4095, "image_too_small"), (4 * 1024 * KIBIBYTE + 1, "image_too_large")])
    def test_sizes_that_no_engine_computer_has_are_refused(self, size, rule):
        assert errors(inspect_bytes((STOCK * 40)[:size])) == [rule]

    @pytest.mark.parametrize("size", [4096, 4 * 1024 * KIBIBYTE])
    def test_the_bounds_themselves_are_accepted(self, size):
        image = generator.make_stock(seed=1, hardware_number="HW-4M", calibration_id="CAL-4M", size=4 * 1024 * KIBIBYTE)

        assert inspect_bytes(image[0x1000:][:size] if size < len(image) else image).passed

    def test_an_odd_size_is_only_a_warning(self):
        report = inspect_bytes(STOCK[:-1])

        assert report.passed
        assert "size_unusual" in rules(report)


class TestWhatIsNoImage:
    @pytest.mark.parametrize(
        ("data", "name", "named"),
        [
            (b"PK\x03\x04" + b"\x01" * 9000, "tune.bin", "ZIP"),
            (b"Rar!\x1a\x07\x01\x00" + b"\x01" * 9000, "tune.bin", "RAR"),
            (b"7z\xbc\xaf\x27\x1c" + b"\x01" * 9000, "", "7-Zip"),
            (b"\x1f\x8b\x08" + b"\x01" * 9000, "", "gzip"),
            (b"BZh91AY&SY" + b"\x01" * 9000, "", "bzip2"),
            (b"\x00" * 257 + b"ustar" + b"\x00" * 9000, "", "tar"),
            (b"\x7fELF" + b"\x01" * 9000, "", "Linux program"),
            (b"MZ" + b"\x00" * 58 + b"\x80\x00\x00\x00" + b"\x00" * 64 + b"PE\x00\x00" + b"\x01" * 9000, "", "Windows program"),
            (b"%PDF-1.7\n" + b"\x01" * 9000, "", "PDF"),
            (b"\x89PNG\r\n\x1a\n" + b"\x01" * 9000, "", "PNG"),
            (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x01" * 9000, "", "Office"),
            (b"\x0b\x00\x00\x00WinOLS File\x00" + b"\x01" * 9000, "", "WinOLS"),
            (STOCK, "stage1.ols", "WinOLS"),
            (STOCK, "stage1.KP", "WinOLS"),
            (STOCK, "stage1.a2l", "ASAP2"),
            (b'<?xml version="1.0"?>\n<XDFFORMAT version="1.60">' + b" " * 9000, "maps.bin", "TunerPro"),
            (b"<!-- Written 1/2/2026 -->\n<XDFFORMAT>" + b" " * 9000, "", "TunerPro"),
            (b"ASAP2_VERSION 1 61\n/begin PROJECT x" + b" " * 9000, "", "ASAP2"),
            (b"<html><body>not found</body></html>" * 300, "", "web page"),
            (b'{"error": "expired"}' * 300, "", "JSON"),
            (b"rpm,load,value\n" * 900, "", "text"),
            (b"#!/bin/sh\n" + b"rm -rf /\n" * 900, "", "script"),
            (b":nonsense\n" * 900, "tune.hex", "no record"),
        ],
    )
    def test_is_refused_by_what_it_is(self, data, name, named):
        report = inspect_bytes(data, name=name)

        assert errors(report) == ["not_an_image"]
        assert named in report.findings[0].message

    def test_an_image_that_happens_to_start_with_mz_is_read(self):
        assert inspect_bytes(b"MZ" + STOCK[2:]).passed


class TestWhatAnImageSays:
    def test_hardware_number_and_calibration_id_are_found_where_they_stand(self):
        layout = generator.layout_of(STOCK)

        detected = inspect_bytes(STOCK).detected

        assert (detected.hardware_number, detected.hardware_number_offset) == ("1SD-8591A", layout.hardware_number_offset)
        assert (detected.calibration_id, detected.calibration_id_offset) == ("MT09EU21A", layout.calibration_id_offset)

    def test_part_numbers_are_known_by_their_shape(self):
        image = bytearray(STOCK)
        image[0x400:0x440] = b"\x00" * 64
        image[0x2000:0x2020] = b"\x00\x000261208771\x00\x001037359422\x00\x00".ljust(32, b"\x00")

        detected = inspect_bytes(bytes(image).replace(b"CALID=", b"XXXXX=")).detected

        assert (detected.hardware_number, detected.calibration_id) == ("0261208771", "1037359422")

    def test_silence_is_no_error(self):
        silent = STOCK.replace(b"HWNO=", b"xxxxx").replace(b"CALID=", b"xxxxxx")

        report = inspect_bytes(silent)

        assert report.passed
        assert {"hardware_number_not_found", "calibration_id_not_found"} <= set(rules(report))

    @pytest.mark.parametrize(
        ("claims", "expected"),
        [
            ({"hardware_numbers": ["1SD-8591A"], "calibration_ids": ["MT09EU21A"], "image_size_bytes": 128 * KIBIBYTE}, []),
            ({"hardware_numbers": ["1sd 8591a"]}, []),
            ({"hardware_numbers": ["B34-8591A", "1SD8591A"]}, []),
            ({"hardware_numbers": ["B34-8591A"]}, [("hardware_number_differs", "error")]),
            ({"calibration_ids": ["MT09US21A"]}, [("calibration_id_differs", "warning")]),
            ({"image_size_bytes": 96 * KIBIBYTE}, [("image_size_differs", "error")]),
            ({}, []),
        ],
    )
    def test_claims_are_held_against_the_image(self, claims, expected):
        findings = compare_claims(inspect_bytes(STOCK), **claims)

        assert [(finding.rule, finding.severity) for finding in findings] == expected

    @pytest.mark.parametrize("blank", [b"\x00", b"\xff"])
    def test_a_blank_image_is_refused(self, blank):
        assert errors(inspect_bytes(blank * 65536)) == ["blank_image"]

    def test_a_repeated_block_is_refused(self):
        assert errors(inspect_bytes(STOCK[0x1000:0x2000] * 32)) == ["repeated_content"]

    def test_an_image_in_two_copies_is_only_a_warning(self):
        report = inspect_bytes(STOCK + STOCK)

        assert report.passed
        assert "repeated_content" in rules(report)

    def test_random_bytes_look_encrypted(self):
        assert "looks_encrypted" in rules(inspect_bytes(os.urandom(65536)))

    def test_a_plausible_image_raises_no_warning(self):
        assert [finding for finding in inspect_bytes(STOCK).findings if finding.severity != "info"] == []


class TestGenerator:
    def test_the_same_seed_gives_the_same_bytes(self):
        again = generator.make_stock(seed="tests", hardware_number="1SD-8591A", calibration_id="MT09EU21A", size=128 * KIBIBYTE)

        assert again == STOCK

    def test_a_tuned_image_differs_in_maps_calibration_id_and_checksum_only(self):
        tuned = generator.make_tuned(STOCK, seed=7, calibration_id="MT09EU21A-S1")

        layout = generator.layout_of(STOCK)
        allowed = set(range(layout.calibration_id_offset, layout.calibration_offset + 64)) | set(
            range(layout.checksum_offset + 8, len(STOCK))
        )
        for region in layout.maps:
            allowed |= set(range(region.values_offset, region.values_offset + region.values_bytes))
        changed = {at for at, (before, after) in enumerate(zip(STOCK, tuned, strict=True)) if before != after}
        assert changed and changed <= allowed
        assert generator.checksums_are_right(STOCK) and generator.checksums_are_right(tuned)
        assert inspect_bytes(tuned).detected.calibration_id == "MT09EU21A-S1"

    @pytest.mark.parametrize("size", [0, 1000, 5 * 1024 * KIBIBYTE])
    def test_impossible_sizes_are_refused(self, size):
        with pytest.raises(ValueError, match="64 KiB"):
            generator.make_stock(seed=1, hardware_number="HW-1", calibration_id="CAL1", size=size)

    def test_numbers_that_no_image_could_state_are_refused(self):
        with pytest.raises(ValueError, match="can't state"):
            generator.make_stock(seed=1, hardware_number="größer", calibration_id="CAL1")


HOSTILE = {
    "a 512 MB span": lambda: hex_file(hex_record(0, 0, b"a" * 16), hex_record(4, 0, b"\x20\x00"), hex_record(0, 0, b"b" * 16)),
    "40,000 fragments": lambda: hex_file(
        *(
            record
            for high in range(2)
            for record in [hex_record(4, 0, bytes((0, high))), *(hex_record(0, at, b"x") for at in range(0, 40000, 2))]
        )
    ),
    "a line of 1 MB": lambda: hex_record(0, 0, b"a" * 16) + b":" + b"00" * 500_000 + b"\n" + END,
    "a line of 16 MB": lambda: b":00000001" + b"0" * (16 * 1024 * KIBIBYTE - 9),
    "a million one-byte records": lambda: (hex_record(0, 0, b"x") * 1_200_000)[: 16 * 1024 * KIBIBYTE],
    "blank lines without end": lambda: hex_record(0, 0, b"x") + b"\n" * (16 * 1024 * KIBIBYTE - 20),
    "a file cut off": lambda: generator.to_srecord(STOCK)[:100_000],
    "a wrong checksum": lambda: generator.to_intel_hex(STOCK).replace(b":20100000", b":20100001"),
    "zero bytes": lambda: b"",
    "nothing but zeros": lambda: b"\x00" * (4 * 1024 * KIBIBYTE),
    "more than may be sent": lambda: b"\x01" * (16 * 1024 * KIBIBYTE + 1),
    "an address space full of jumps": lambda: (
        b"".join(s_record(b"3", (at * 8192 % (4 << 20)).to_bytes(4, "big"), b"x") for at in range(2000))
        + s_record(b"7", b"\x00\x00\x00\x00")
    ),
}


class TestTheChildProcess:
    def test_says_the_same_as_the_inspection_itself(self, tmp_path):
        path = tmp_path / "file"
        path.write_bytes(generator.to_intel_hex(STOCK))

        assert run_inspection(path, name="tune.hex") == inspect_bytes(generator.to_intel_hex(STOCK), name="tune.hex")

    def test_never_loads_django(self):
        code = (
            "import sys; sys.path.insert(0, '.'); import garage.ecu_images.inspection;"
            " print([name for name in sys.modules if name.startswith('django')])"
        )

        loaded = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True).stdout

        assert loaded.strip() == "[]"

    @pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE.keys())
    def test_answers_hostile_files_within_its_limits(self, make, tmp_path):
        path = tmp_path / "file"
        path.write_bytes(make())
        started = time.monotonic()

        report = run_inspection(path)

        assert report.verdict == REFUSED
        assert errors(report) != ["inspection_limit"]
        assert time.monotonic() - started < 10

    def test_reads_the_largest_good_file_within_its_limits(self, tmp_path):
        image = generator.make_stock(seed=4, hardware_number="HW-4M", calibration_id="CAL-4M", size=4 * 1024 * KIBIBYTE)
        path = tmp_path / "file"
        path.write_bytes(generator.to_intel_hex(image, record_bytes=16))

        report = run_inspection(path)

        assert report.passed
        assert report.image.sha256 == hashlib.sha256(image).hexdigest()

    def test_is_stopped_by_its_memory_limit(self, tmp_path):
        path = tmp_path / "file"
        path.write_bytes(generator.to_intel_hex(STOCK * 16))

        report = run_inspection(path, memory_bytes=32 * limits.MEBIBYTE)

        assert errors(report) == ["inspection_limit"]

    def test_is_stopped_by_the_clock(self, tmp_path):
        path = tmp_path / "file"
        path.write_bytes(STOCK)

        with pytest.raises(TimeoutError):  # a busy machine is not the file's fault
            run_inspection(path, timeout_seconds=0.001)

    def test_a_vanished_file_is_our_fault_and_no_verdict(self, tmp_path):
        with pytest.raises(RuntimeError, match="inspection process"):
            run_inspection(tmp_path / "nowhere")
