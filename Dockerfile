# One image for every role: the command decides whether it migrates, schedules, serves or works.
# Debian's slim base and not Alpine: every pinned dependency has a wheel for glibc, so nothing is compiled.
# Python 3.13 runs the whole lock file and has been in the field for two years; the tag names the patch
# version and the Debian release, so a rebuild changes neither unasked. Another registry's copy of it, or
# a digest, goes in by `--build-arg BASE_IMAGE=…`.
ARG BASE_IMAGE=python:3.13.16-slim-trixie


FROM ${BASE_IMAGE} AS build

COPY requirements.txt /
# Hashes make a tampered package fail; refusing source packages keeps compilers and build scripts out.
RUN python -m venv /venv \
    && /venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check \
        --require-hashes --no-deps --only-binary=:all: --requirement /requirements.txt \
    && /venv/bin/python -m pip uninstall --yes pip

WORKDIR /app
# .dockerignore lets in the code rooms, and pyproject.toml, where Alembic finds the migrations.
COPY . .
# The running container can write nothing, so the bytecode is made here, valid whatever the files' dates.
RUN rm requirements.txt && /venv/bin/python -m compileall -q --invalidation-mode unchecked-hash .


FROM ${BASE_IMAGE}

# A fixed number, so that an orchestrator can tell that it is not root and a volume can be given to it.
RUN groupadd --gid 10001 orders \
    && useradd --uid 10001 --gid orders --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin orders

COPY --from=build /venv /venv
COPY --from=build /app /app

ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1

WORKDIR /app
USER 10001:10001
# Workers and uvicorn finish what they hold when they are asked to stop in this way.
STOPSIGNAL SIGTERM
# No HEALTHCHECK: the roles differ in what health is, so docker-compose.yml says it for each.
CMD ["python", "-m", "api"]
