"""Where a checkpoint is: a path, or the Hugging Face hub's copy; and what a `config.json` beside it says."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

from volo_edge import inputs
from volo_edge.errors import RequestError
from volo_edge.variants import VARIANTS

HUB = "hf-hub:"
CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # what the hub calls a repository's weights


def find(source: str) -> Path:
    """The file of weights that `source` names, fetched if need be; RequestError where there is none."""
    path = _download(source) if source.startswith(HUB) else Path(source)
    try:
        inputs.require_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        example = next(iter(VARIANTS.values())).hub
        raise RequestError(f"no such file; give a checkpoint's path, or a hub name such as {example}") from None
    return path


def config(path: Path) -> dict[str, Any]:
    """The `config.json` of the repository that weights called as the hub's are in; {} where there is none."""
    file = path.with_name(CONFIG)
    if path.name not in WEIGHTS or not file.exists():
        return {}
    try:
        found: Any = inputs.parse_json(inputs.read_bytes(file))
    except (OSError, ValueError, RequestError) as error:
        raise RequestError(f"the {CONFIG} beside it cannot be read ({brief(error)}); mend it or move it away") from None
    if not isinstance(found, dict):
        raise RequestError(f"the {CONFIG} beside it is no JSON object; mend it or move it away")
    return found


def _download(name: str) -> Path:
    """The local copy of the weights of `hf-hub:owner/name[@revision]`, and of its `config.json` where it has one.

    `hf_hub_download` answers an unreachable hub with half a minute of retries, each printed. So the hub is asked once,
    plainly, and where it cannot be reached only the cache is searched.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url  # here: a fifth of a second
    from huggingface_hub.errors import EntryNotFoundError

    repository, _, tag = name.removeprefix(HUB).partition("@")
    revision = tag or None
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise RequestError(f"is no hub name; one is {HUB}owner/name or {HUB}owner/name@revision")
    reachable, reason = True, f"the repository holds neither {' nor '.join(WEIGHTS)}"
    for filename in WEIGHTS:
        if reachable:
            try:
                get_hf_file_metadata(hf_hub_url(repository, filename, revision=revision), timeout=10)
            except EntryNotFoundError:
                continue
            except Exception as error:  # of the HTTP library, of the hub's library or of the operating system
                reachable, reason = False, f"not in the cache, and the hub cannot be asked ({brief(error)})"
        fetch = partial(hf_hub_download, repository, revision=revision, local_files_only=not reachable)
        try:
            path = Path(fetch(filename))
        except Exception as error:
            if reachable:
                reason = f"the download failed ({brief(error)})"
            continue
        try:
            fetch(CONFIG)
        except EntryNotFoundError:  # of the cache or of the hub: such a repository says nothing of its model
            pass
        except Exception as error:
            raise RequestError(f"its {CONFIG} cannot be had ({brief(error)}); it says how photographs are") from None
        return path
    raise RequestError(f"{reason}; download the weights elsewhere and pass the file to `--weights`")


def brief(error: Exception) -> str:
    """An error's message in one line of 160 characters at most."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
