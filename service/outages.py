"""How it shows that Redis is away, beyond what its driver declares."""

from redis.exceptions import RedisError

REDIS_AWAY = (RedisError, OSError, RuntimeError)
"""What asking Redis raises when it is away.

`RuntimeError` is uvloop's, for a write to a connection that ended just before: the event loop learns of a reset before
redis-py does, which lets the error out. (asyncpg learns of it in time, and anyio, below the HTTP clients, translates.)
"""
