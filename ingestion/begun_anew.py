"""What a cursor looks like where the range from its next offset is begun anew: after a gap, and after a person resumed it."""

from __future__ import annotations

# For the SET of an UPDATE: no attempt is open, and nothing is suspected.
BEGUN_ANEW = """
    ended_attempt = attempt, started_at = NULL, phase = '', retry_at = NULL, range_since = NULL, dispatches = 0,
    unstarted = 0, backend_pid = NULL, backend_start = NULL, death_signal = NULL,
    suspect_end = NULL, suspected_at = NULL, suspected_build = '', strikes = 0, lone_strikes = 0, lone_doubts = 0,
    lone_deaths = 0
"""
