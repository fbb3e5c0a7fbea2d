"""Reads command lines as SGLang does: one JSON list a line in, one JSON object or error a line out.

Run by the interpreter of an environment that has SGLang.
"""

import contextlib
import io
import json
import sys
from importlib import import_module

TOLD = (
    "model_path", "context_length", "enable_priority_scheduling", "enable_metrics", "tool_call_parser",
    "speculative_algorithm", "speculative_num_steps", "speculative_eagle_topk", "speculative_num_draft_tokens",
    "max_running_requests", "mem_fraction_static", "tp_size", "constrained_json_disable_any_whitespace",
)  # fmt: skip


def main() -> None:
    """Until standard input ends."""
    prepare_server_args = import_module("sglang.srt.server_args").prepare_server_args

    for line in sys.stdin:
        errors = io.StringIO()
        try:
            with contextlib.redirect_stderr(errors):
                arguments = prepare_server_args(json.loads(line))
        except (SystemExit, ValueError) as error:
            print(json.dumps({"error": f"{error} {errors.getvalue()}"}), flush=True)
        else:
            print(json.dumps({name: getattr(arguments, name) for name in TOLD}), flush=True)


if __name__ == "__main__":
    main()
