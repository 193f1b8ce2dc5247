"""Where in a checkpoint the weights of a VOLO are: which of its dictionaries, and behind which prefix of their names.

Training scripts keep the state dict at the top, or under a name of their own, up to three dictionaries deep; and they
wrap models, which puts a prefix in front of every name. So neither names nor prefixes are listed here: the state dict
is the dictionary that holds a VOLO.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from volo_edge.checkpoint.text import few, quoted
from volo_edge.errors import RequestError

DEPTH = 3
_BLOCK = re.compile(r"((?:.*\.)?)network\.\d{1,9}\.\d{1,9}\.(?:norm[12]|attn|mlp)\.")
_AVERAGE = re.compile(r"(?:^|[._])(?:ema|swa|avg|averaged?)(?:[._]|$)")
_COUNTERS = ("n_averaged", "num_batches_tracked")  # of training; no weights


@dataclass(frozen=True)
class Entry:
    """A VOLO in a checkpoint.

    Args:
        place: names of the dictionaries it is in, joined by dots; "" at the top.
        prefix: what stands in front of its tensors' names.
        tensors: by their names in `VOLO`.
        beside: other names in the same dictionary, which were left out.
        average: whether it is a moving average of the weights in training, by its name.
    """

    place: str
    prefix: str
    tensors: dict[str, Tensor]
    beside: tuple[str, ...]
    average: bool

    @property
    def name(self) -> str:
        """What `--entry` takes, whatever else is in the file: the place and the prefix."""
        return ".".join(filter(None, (self.place, self.prefix.strip(".")))) or "."


def find(found: Any) -> list[Entry]:
    """Every VOLO in what a checkpoint held; RequestError where there is none."""
    if not isinstance(found, Mapping):
        raise RequestError(f"holds a {type(found).__name__}, not a state dict; save `model.state_dict()`")
    _require_no_mivolo(found)
    entries = [entry for place, within in _dictionaries(found) for entry in _entries(place, within)]
    if not entries:
        tensors = [name for _, within in _dictionaries(found) for name, value in within.items() if _is(value, name)]
        if tensors:
            raise RequestError(f"holds no VOLO: its tensors are {few(tensors)}; give a checkpoint of a VOLO")
        raise RequestError(
            f"holds no weights: its entries are {few(found) or 'none'}, and none of them is a state dict, {DEPTH} "
            "dictionaries deep"
        )
    return entries


def choose(entries: list[Entry], wanted: str | None) -> Entry:
    """The entry that is `wanted`, by its name or the end of it; of several, a moving average goes first.

    That is timm's rule: its training script and the official one validate the average, and keep the epochs where *it*
    is best. So it is the model whose accuracy a person has seen.
    """
    if wanted is None:
        return next((entry for entry in entries if entry.average), entries[0])
    exact = [entry for entry in entries if wanted in (entry.name, entry.place)]
    ending = [entry for entry in entries if f".{entry.name}".endswith(f".{wanted}")]
    for matching in (exact, ending):
        if len(matching) == 1:
            return matching[0]
    raise RequestError(
        f"has {'several VOLOs' if exact or ending else 'no VOLO'} in {quoted(wanted)}: "
        f"`--entry` takes {', '.join(entry.name if entry.name != '.' else '. (the top)' for entry in entries)}"
    )


def _is(value: Any, name: Any) -> bool:
    return isinstance(name, str) and isinstance(value, Tensor)


def _dictionaries(found: Mapping[Any, Any], place: str = "", depth: int = 0) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Each dictionary in `found` and where it is, itself first."""
    yield place, found
    if depth < DEPTH:
        for name, value in found.items():
            if isinstance(name, str) and isinstance(value, Mapping):
                yield from _dictionaries(value, f"{place}.{name}" if place else name, depth + 1)


def _entries(place: str, within: Mapping[Any, Any]) -> Iterator[Entry]:
    """The VOLOs in one dictionary, one for each prefix that has blocks of one behind it."""
    weights = [name for name, value in within.items() if _is(value, name)]
    behind: dict[str, list[str]] = {match[1]: [] for name in weights if (match := _BLOCK.match(name))}
    beside: list[str] = []
    for name in (name for name in within if isinstance(name, str) and name.split(".")[-1] not in _COUNTERS):
        prefix = max((prefix for prefix in behind if name.startswith(prefix)), key=len, default=None)
        (beside if prefix is None else behind[prefix]).append(name)
    for prefix, names in behind.items():
        if others := [name for name in names if "." in name and name not in weights]:
            raise RequestError(f"has entries among its weights that are not tensors: {few(others)}; save the state")
        tensors = {name.removeprefix(prefix): within[name] for name in names if _is(within[name], name)}
        if twice := [name for name in beside if name in tensors]:
            raise RequestError(f"names a tensor twice, with and without a prefix: {few(twice)}")
        average = _AVERAGE.search(place) or _AVERAGE.search(prefix) or "n_averaged" in weights
        others = [name for name in beside if name in weights]
        yield Entry(place, prefix, _square(tensors), tuple(others), bool(average))


def _square(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """`tensors` with a flat position embedding, (1, T, C) of T tokens of a square grid, as (1, side, side, C)."""
    position = tensors.get("pos_embed")
    if position is not None and not position.is_nested and position.ndim == 3:
        side = math.isqrt(position.shape[1])
        if side**2 == position.shape[1]:
            tensors["pos_embed"] = position.reshape(position.shape[0], side, side, position.shape[2])
    return tensors


def _require_no_mivolo(found: Mapping[Any, Any]) -> None:
    """RequestError for a MiVOLO (Kuprashevich and Tolstykh, arXiv:2307.04616), whose tensors look like a VOLO's."""
    two_stems = any(
        isinstance(name, str) and name.endswith("patch_embed.conv1.0.weight")
        for _, within in _dictionaries(found)
        for name in within
    )
    if two_stems or {"min_age", "max_age", "avg_age"} <= found.keys():
        reads = "a face and a person, 6 channels, and gives" if two_stems else "a face and gives"
        raise RequestError(
            f"is a MiVOLO, which estimates age and gender: it reads {reads} an age and scores, no classes; volo-edge "
            "converts VOLO classifiers"
        )
