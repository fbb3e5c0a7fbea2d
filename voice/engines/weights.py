"""Weights of language models in the form that is quickest on a CPU."""

import logging
import os
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)

SMALL_BYTES = 1 << 29
"""Larger models wait for memory rather than for arithmetic, and are not made larger still."""


def quick(path: Path) -> Path:
    """The same weights for llama.cpp, those of kind Q4_1 as Q8_0; made once, and kept beside the file.

    llama.cpp computes Q8_0 a third faster than Q4_1, which it has no arranged form of. The values are rounded by 1/254
    of the largest of their 32 at most.

    Returns:
        The new file; or `path` where there is nothing to gain, or no room beside it.
    """
    facts = path.stat()
    made = path.with_name(f".{path.stem}.{facts.st_size}-{facts.st_mtime_ns}.q8_0")
    draft = made.with_name(f"{made.name}.{os.getpid()}")
    try:
        if made.exists():
            return made
        if facts.st_size > SMALL_BYTES or not _recode(path, draft):
            return path
        for old in path.parent.glob(f".{path.stem}.*.q8_0"):
            old.unlink(missing_ok=True)
        draft.replace(made)
    except (OSError, ValueError, LookupError) as error:  # what cannot be read is for llama.cpp to complain of
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        log.info("weights are used as they are", extra={"file": path.name, "reason": str(error)})
        return path
    return made


def _recode(path: Path, target: Path) -> bool:
    """Write the copy; False, and nothing written, if the file holds no Q4_1."""
    from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter  # slow to import, and rarely needed
    from gguf.quants import dequantize, quantize

    old, new = GGMLQuantizationType.Q4_1, GGMLQuantizationType.Q8_0
    source = GGUFReader(path)
    if not any(tensor.tensor_type == old for tensor in source.tensors):
        return False
    target.touch()  # a folder that is not ours is found out before the work
    log.info("weights are made quicker, which takes a few seconds, once", extra={"file": path.name})
    writer = GGUFWriter(target, source.fields["general.architecture"].contents())
    for field in source.fields.values():
        if field.name != "general.architecture" and not field.name.startswith("GGUF."):
            kind, *_, last = (*field.types, field.types[-1])
            writer.add_key_value(
                field.name, field.contents(), kind, sub_type=last if kind is GGUFValueType.ARRAY else None
            )
    for tensor in source.tensors:
        if tensor.tensor_type == old:
            data = quantize(dequantize(tensor.data, old), new)
            writer.add_tensor(tensor.name, data, raw_dtype=new)
        else:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()
    return True
