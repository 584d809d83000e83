# The gateway only: no embedded servers, no compiler, and no root user.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
WORKDIR /app
RUN python -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir --disable-pip-version-check uv \
    && python -m venv --without-pip .venv
# Packages change rarely, so they have their own layer; the lock pins their versions.
COPY pyproject.toml requirements.lock ./
RUN /opt/uv/bin/uv pip install --no-cache --compile-bytecode --python .venv/bin/python \
    --constraint requirements.lock --requirement pyproject.toml --extra open-models
COPY README.md alembic.ini openapi.yaml ./
COPY alembic alembic
COPY service service
COPY workers workers
COPY trainer trainer
COPY cli cli
RUN /opt/uv/bin/uv pip install --no-cache --python .venv/bin/python --no-deps --editable . \
    && .venv/bin/python -m compileall -q --invalidation-mode unchecked-hash service workers trainer cli

FROM python:${PYTHON}-slim
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin tunegate \
    && install -d -o tunegate -g tunegate -m 0700 /data
WORKDIR /app
COPY --from=build /app /app
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TUNEGATE_HOST=0.0.0.0 \
    TUNEGATE_PORT=8080 \
    TUNEGATE_STORAGE_URL=file:///data/storage
USER tunegate
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=4s --start-period=20s CMD \
    ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:%s/livez' % os.environ['TUNEGATE_PORT'], timeout=3)"]
STOPSIGNAL SIGTERM
CMD ["tunegate", "serve"]
