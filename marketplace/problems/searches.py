from core.problems import ProblemType

PROBLEMS: list[ProblemType] = [
    ProblemType("saved_search_name_taken", 409, "A saved search has this name", "Case does not matter."),
    ProblemType("too_many_saved_searches", 409, "Too many saved searches", "DELETE one, then repeat."),
]
