"""Where the command begins: an interrupt is answered from here on, before anything that takes time is imported.

An exception would not do. While modules are imported it may come up where Python can only ignore it, and the command
would go on; and nothing has been begun that were to be cleaned up. So the process ends at once, until
`interrupts.heard` takes over.
"""

from __future__ import annotations

import os
import sys

from volo_edge.errors import INTERRUPTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn


def main() -> int:
    """Run the command that the process was started with; its exit status."""
    try:
        import signal

        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, _end)
        from volo_edge.cli import main as run

        return run()
    except KeyboardInterrupt:  # before there was a handler
        _end()


def _end(*_: object) -> NoReturn:
    """End the process as `cli.main` does, with nothing that may be half imported at this moment."""
    said = [(2, f"volo-edge: {INTERRUPTED}\n")]
    if wants_json(sys.argv[1:]):
        said.append((1, f'{{"error": {{"message": "{INTERRUPTED}", "status": 2, "kind": "interrupted"}}}}\n'))
    for stream, text in said:
        try:
            os.write(stream, text.encode())
        except OSError:  # it is closed
            continue
    os._exit(2)


def wants_json(words: Sequence[str]) -> bool:
    """Whether a command line has `--json` in it, which argparse takes abbreviated too."""
    return any(len(word) > 2 and "--json".startswith(word) for word in words)
