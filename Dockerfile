# A server in a container. CPU by default; `--build-arg VARIANT=cuda` adds what recognition on an NVIDIA GPU loads.
#
#   docker build -t rejoinder .
#   docker run -p 8800:8800 -v rejoinder-models:/models -e REJOINDER__AUTH__KEYS=YOUR-KEY rejoinder
#
# Inside, the server listens on all addresses and therefore refuses to start without keys (REJOINDER__AUTH__KEYS, or
# REJOINDER__AUTH__MODE=none to let everyone in). The models it lacks are fetched into /models at the first start.
# With a GPU: docker run --gpus all -e REJOINDER__ASR__DEVICE=cuda ...

ARG VARIANT=cpu
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
ARG VARIANT
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements requirements
RUN python -m venv /opt/rejoinder \
 && /opt/rejoinder/bin/python -m pip install --upgrade --require-hashes -r requirements/bootstrap.txt \
 && /opt/rejoinder/bin/python -m pip install --require-hashes -r requirements/runtime.txt \
 && if [ "$VARIANT" = cuda ]; then \
      /opt/rejoinder/bin/python -m pip install --require-hashes -r requirements/cuda.txt; \
    fi
COPY . .
RUN /opt/rejoinder/bin/python -m pip install --no-deps --no-build-isolation .

FROM python:${PYTHON}-slim
ARG PYTHON
RUN useradd --create-home --uid 10001 rejoinder \
 && install --directory --owner=rejoinder --group=rejoinder /models
COPY --from=build /opt/rejoinder /opt/rejoinder
COPY configs /etc/rejoinder
ENV PATH=/opt/rejoinder/bin:$PATH \
    LD_LIBRARY_PATH=/opt/rejoinder/lib/python${PYTHON}/site-packages/nvidia/cublas/lib \
    PYTHONUNBUFFERED=1 \
    REJOINDER__SERVER__HOST=0.0.0.0 \
    REJOINDER__MODELS__DIR=/models
USER rejoinder
WORKDIR /home/rejoinder
VOLUME /models
EXPOSE 8800
HEALTHCHECK --interval=15s --timeout=3s --start-period=300s \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ.get('REJOINDER__SERVER__PORT', '8800')}/healthz\", timeout=2)"]
ENTRYPOINT ["rejoinder"]
CMD ["serve"]
