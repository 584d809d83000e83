"""How many steps of each kind of leased work one worker runs at a time. Projects share them (`service/fair_shares.py`).

A kind whose steps are bounded by a setting or by processes is not listed here.
"""

ACCOUNT_POLLS = 64
"""Accounts that are polled. A poll mostly waits, and an unresponsive account must not delay others."""

RUNS = 16
"""Generations and comparisons that have a time slice; each has several calls in flight."""

DEPLOYMENTS = 16

EXPERIMENTS = 16
"""Experiments that start arms or draw a share of the data; one that waits for its arms occupies no place."""

DELETIONS = 16

DELIVERIES = 256
"""Attempts at endpoints that answer fast, or have not been tried. An attempt mostly waits."""

SLOW_DELIVERIES = 64
"""Attempts at endpoints whose last attempt was slow, a queue of their own so that they do not delay others."""

RETRIES = 64
"""Attempts at endpoints whose last attempt failed, a queue of their own so that they do not delay others."""
