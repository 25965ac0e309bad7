# The operator, as charts/backstay runs it: docker build -t REGISTRY/backstay:0.1.0 .
FROM python:3.13-slim

# ssh refuses to run for a user without an entry in /etc/passwd.
RUN apt-get update \
    && apt-get install -y --no-install-recommends openssh-client \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 65532 backstay \
    && useradd --uid 65532 --gid 65532 --home-dir /tmp --no-create-home backstay

COPY pyproject.toml README.md /src/
COPY operator /src/operator
RUN pip install --no-cache-dir /src && rm -r /src

USER 65532:65532
ENTRYPOINT ["backstay-operator"]
