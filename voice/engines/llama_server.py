"""The child process of the embedded language model: llama.cpp's HTTP server on a free loopback port.

Reads one JSON line on its standard input (the fields of `serve`), answers one on its standard output, `{"url": ...}`
or `{"error": ...}`, and lives until its standard input ends. It is run by its path and imports nothing of ours, so
that it starts fast.
"""

import ctypes
import json
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
NICE = 5
BATCH = 32
"""Tokens of prompt computed between two looks at who has left and who else waits; more is hardly faster on a CPU, and
a cancelled prefill holds up an answer for as long as these take."""
CACHE_MIB = 256
"""Memory for the prompt caches of conversations whose slot another took over."""


def serve(path: str, key: str, context: int, slots: int, threads: int) -> str:
    """Load the model and serve it from threads of its own; returns the address once it is ready.

    Args:
        path: the GGUF file.
        key: what callers must present as a bearer token.
        context: tokens per slot.
        slots: answers at the same time.
        threads: for all slots together.
    """
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = path
    params.api_keys = [key]
    params.port = 0
    params.n_ctx = context * slots
    params.n_parallel = slots
    params.n_threads_http = max(16, 4 * slots)
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.cache_ram_mib = CACHE_MIB
    params.n_batch = BATCH
    params.n_ubatch = BATCH
    params.use_jinja = True
    params.fit_params = False
    params.ui = False
    params.verbosity = 1
    # The server stops when the object is collected.
    serve.server = xllamacpp.Server(params)  # type: ignore[attr-defined]
    return str(serve.server.listening_address)  # type: ignore[attr-defined]


def main() -> None:
    """Serve until the parent closes our standard input or dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.nice(NICE)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which stops us.
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Whatever the library prints must not look like a report.
    order = json.loads(sys.stdin.readline())
    try:
        answer = {"url": serve(**order)}
    except (RuntimeError, ImportError, OSError) as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), file=report, flush=True)
    sys.stdin.read()
    os._exit(0)  # No waiting for answers in progress.


if __name__ == "__main__":
    main()
