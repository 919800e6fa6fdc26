# One image for every service; docker-compose.yml gives each its command.
FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/promptmill
WORKDIR /src
COPY requirements.lock requirements-otel.lock ./
RUN /opt/promptmill/bin/pip install --require-hashes -r requirements.lock -r requirements-otel.lock
COPY pyproject.toml README.md catalog.toml ./
COPY shared shared
COPY worker worker
COPY producer producer
COPY simulator simulator
COPY migrations migrations
RUN /opt/promptmill/bin/pip install --no-deps --no-build-isolation --no-index .

FROM python:3.11-slim
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/promptmill promptmill
COPY --from=build /opt/promptmill /opt/promptmill
COPY catalog.toml /etc/promptmill/catalog.toml
ENV PATH=/opt/promptmill/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PROMPTMILL_CATALOG=/etc/promptmill/catalog.toml \
    PROMPTMILL_HOME=/var/lib/promptmill
WORKDIR /var/lib/promptmill
USER promptmill
VOLUME /var/lib/promptmill
EXPOSE 8000
CMD ["promptmill", "api", "--host", "0.0.0.0", "--port", "8000"]
