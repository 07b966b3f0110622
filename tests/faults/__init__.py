"""Faults with real processes: killed, stopped, held up, told to stop twice, forked."""
