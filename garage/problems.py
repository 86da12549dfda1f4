"""The garage's rows of the table of codes."""

from core.problems import ProblemType

PROBLEMS = [
    ProblemType("vin_in_garage", 409, "The VIN is in your garage already", "`vehicle_id` is the vehicle that has it."),
    ProblemType("garage_full", 409, "The garage is full"),
    ProblemType("too_many_mods", 409, "Too many parts on this vehicle"),
    ProblemType("ecu_readout_required", 409, "Read the ECU first", "PUT `garage/vehicles/{id}/ecu/`, then repeat."),
    ProblemType(
        "stock_file_mismatch", 409, "The image belongs to another ECU", "`errors` say what differs: size, hardware number, calibration."
    ),
    ProblemType("stock_file_is_tune", 409, "The image is a tune", "Only an original image can be kept as the way back."),
    ProblemType("stock_file_exists", 409, "The image is saved already", "`stock_file_id` is the one that is kept."),
    ProblemType("stock_file_required", 409, "Save the stock image first", "A rescue link leads to the vehicle's stock image."),
    ProblemType("too_many_rescue_links", 409, "Too many open rescue links", "DELETE one, then repeat."),
    ProblemType("text_version_outdated", 409, "The text has changed", "Read `meta/` again, show the text, and ask the rider again."),
    ProblemType("transfer_code_wrong", 409, "The code is not right", "`tries_left` more are possible."),
    ProblemType("transfer_closed", 409, "The offer has ended", "It was accepted, withdrawn, ran out, or had too many wrong codes."),
    ProblemType("transfer_to_oneself", 409, "The vehicle is yours already"),
]
