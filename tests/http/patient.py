"""`python -m tests.http.patient`: the command line, whose limiter waits for Redis as long as a busy machine takes.

With its own patience of 50 ms a request is now and then let through uncounted where the cores are shared with other
tests, and a test that counts requests would count one too many.
"""

from cli.main import main
from service.http import rate_limits

LONG_SECONDS = 60.0

if __name__ == "__main__":
    rate_limits.RESPONSE_SECONDS = rate_limits.SILENCE_SECONDS = rate_limits.WARM_SECONDS = LONG_SECONDS
    rate_limits.CONNECTION.update(socket_connect_timeout=LONG_SECONDS, socket_timeout=LONG_SECONDS)
    main()
