# Three images: `docker build --target core -t ichor .` detects; `--target serve -t ichor-serve` has the page;
# `--target mercure -t ichor-mercure` is a processing module of mercure. None holds a compiler, pip or tests. They run as a
# numbered user and write to /var/lib/ichor and a temporary folder only, so the root may be read-only.
# tests/packaging/test_image.py runs the steps without an engine.
ARG PYTHON=3.13-slim-bookworm

FROM python:${PYTHON} AS packages
WORKDIR /source
COPY constraints.txt ./
# Every file by its hash; nothing is compiled.
RUN pip download --no-cache-dir --require-hashes --only-binary :all: --dest /packages -r constraints.txt
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src src

FROM packages AS core-environment
RUN python -m venv /ichor \
    && /ichor/bin/pip install --no-cache-dir --no-index --find-links /packages . \
    && /ichor/bin/pip uninstall --yes pip

FROM packages AS serve-environment
RUN python -m venv /ichor \
    && /ichor/bin/pip install --no-cache-dir --no-index --find-links /packages '.[serve,results]' \
    && /ichor/bin/pip uninstall --yes pip

FROM python:${PYTHON} AS base
ENV PATH=/ichor/bin:$PATH \
    HOME=/var/lib/ichor \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
RUN install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/ichor
USER 10001:10001
WORKDIR /var/lib/ichor

# docker run --rm --read-only --tmpfs /tmp --network none -v "$PWD/study:/study:ro" ichor detect /study --json
FROM base AS core
COPY --from=core-environment /ichor /ichor
ENTRYPOINT ["ichor"]
CMD ["--help"]

# mercure runs it as its own user, who may not enter the home of this one, with MERCURE_IN_DIR and MERCURE_OUT_DIR:
# docs/how-to/set-up-the-other-side.md
FROM base AS mercure
COPY --from=serve-environment /ichor /ichor
ENV HOME=/tmp
WORKDIR /
ENTRYPOINT ["python", "-m", "ichor.node.mercure"]

# compose.yaml runs it beside PostgreSQL.
FROM base AS serve
COPY --from=serve-environment /ichor /ichor
VOLUME ["/var/lib/ichor"]
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health/ready', timeout=8)"]
ENTRYPOINT ["ichor", "serve", "--state", "/var/lib/ichor/serve"]
CMD ["--host", "0.0.0.0", "--token-file", "/run/secrets/ichor_token"]
