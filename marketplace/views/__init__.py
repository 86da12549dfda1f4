"""One class for each operation, one module for each noun."""
