from core.problems import ProblemType

PROBLEMS: list[ProblemType] = [
    ProblemType("tune_in_use", 409, "The tune is in use", "Somebody owns it, so it is never deleted. Archive it."),
    ProblemType("tune_suspended", 409, "The tune is suspended", "Staff suspended it; the reason stands in `tuners/me/tunes/`."),
    ProblemType("publish_blocked", 409, "Something is missing before publishing", "`blockers` lists it, as `tuners/me/` does."),
    ProblemType("version_number_taken", 409, "The version number is taken"),
    ProblemType("too_many_unpublished_versions", 409, "Too many unpublished versions"),
    ProblemType("version_not_editable", 409, "The version can't be changed now", "`status` says why."),
    ProblemType("version_was_published", 409, "A published version stays"),
    ProblemType("version_was_tested", 409, "A version with test tickets stays"),
    ProblemType("version_files_required", 409, "The version has no inspected file"),
    ProblemType("own_version", 403, "It is your own work"),
    ProblemType("hashes_differ", 409, "Other files were approved"),
    ProblemType("release_outdated", 409, "Another version was published meanwhile", "Repeat the request."),
    ProblemType("tune_file_missing", 409, "A file is not in storage"),
    ProblemType("verified_buyer_required", 403, "Only buyers review"),
]
