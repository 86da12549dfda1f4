"""Pure predicates, one module for each noun."""
