"""Every change of state, one module for each noun."""
