# The gateway only: no embedded servers, no compiler, and no root user.
#
# The base is pinned by the digest of its index, which covers every architecture. The newest one of the same tag:
#   docker buildx imagetools inspect python:3.11-slim-trixie --format '{{.Manifest.Digest}}'
ARG BASE=python:3.11.16-slim-trixie@sha256:9c900dea9e8fb7e16277c179b555cc72d29a352dbc33cff48ad5a0412fd5bfc7

FROM ${BASE} AS build
WORKDIR /build
RUN python -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir --disable-pip-version-check uv \
    && python -m venv --without-pip /opt/tunegate
# Packages change rarely, so they have their own layer; the lock pins their versions.
COPY pyproject.toml requirements.lock ./
RUN /opt/uv/bin/uv pip install --no-cache --compile-bytecode --python /opt/tunegate/bin/python \
    --constraint requirements.lock --requirement pyproject.toml --extra open-models
COPY README.md alembic.ini ./
COPY alembic alembic
COPY service service
COPY workers workers
COPY trainer trainer
COPY cli cli
RUN /opt/uv/bin/uv pip install --no-cache --compile-bytecode --python /opt/tunegate/bin/python --no-deps .

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Tunegate" \
    org.opencontainers.image.description="A fine-tuning gateway: the official openai SDK is its client, your upstreams do the training." \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin tunegate \
    && install -d -o tunegate -g tunegate -m 0700 /data
COPY --from=build /opt/tunegate /opt/tunegate
ENV PATH=/opt/tunegate/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TUNEGATE_HOST=0.0.0.0 \
    TUNEGATE_PORT=8080 \
    TUNEGATE_STORAGE_URL=file:///data/storage
WORKDIR /data
USER tunegate
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=4s --start-period=20s CMD \
    ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:%s/livez' % os.environ['TUNEGATE_PORT'], timeout=3)"]
STOPSIGNAL SIGTERM
CMD ["tunegate", "serve"]
