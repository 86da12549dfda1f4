"""Work of the worker and the schedule, one module for each noun."""
