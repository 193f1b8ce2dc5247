"""iPhones and iPads, by `xcrun devicectl` of Xcode on a Mac: what it finds is read from the JSON that it writes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from volo_edge.devices import APP
from volo_edge.devices.tool import Answer, Phone, run
from volo_edge.errors import RequestError

NO_PHONE = "connect one by cable, unlock it, trust this Mac and switch on Settings, Privacy, Developer Mode"
REMEDY = "it comes with Xcode 15 or later, on a Mac"
_RESULTS = "Documents/results.json"


def phones() -> list[Phone]:
    """The phones that devicectl lists and that are not simulated."""
    answer, said = _devicectl("list", "devices")
    if answer.status != 0:
        raise RequestError(f"devicectl cannot list phones: {_reason(answer, said)}")
    found = []
    for device in said.get("result", {}).get("devices", []):
        hardware = device.get("hardwareProperties", {})
        connection = device.get("connectionProperties", {})
        if hardware.get("platform", "iOS") != "iOS":
            continue
        problem = None
        if connection.get("pairingState") != "paired":
            problem = "it is not paired with this Mac: unlock it and trust this Mac"
        elif connection.get("tunnelState") == "unavailable":
            problem = "it is not connected: connect it by cable and unlock it"
        name = device.get("deviceProperties", {}).get("name") or hardware.get("marketingName") or "unknown model"
        found.append(Phone(device["identifier"], name, problem))
    return found


def package(app: Path) -> Path:
    """What building the app in `app` gives, the newest where it was built more than once."""
    built = sorted((app / "build" / "Build" / "Products").glob("*-iphoneos/VoloEdge.app"), key=_changed)
    if not built:
        raise RequestError(
            f"{app} is not built (no VoloEdge.app in {app / 'build'}): in it, run xcodegen and 'xcodebuild -scheme "
            "VoloEdge -configuration Release -destination generic/platform=iOS -derivedDataPath build "
            "DEVELOPMENT_TEAM=YOURS -allowProvisioningUpdates'"
        )
    return built[-1]


def _changed(path: Path) -> float:
    return path.stat().st_mtime


def install(phone: Phone, path: Path) -> None:
    """Install the app, in the place of an earlier one."""
    answer, said = _devicectl("device", "install", "app", "--device", phone.serial, str(path), timeout=300)
    if answer.status != 0:
        raise RequestError(f"{path.name} cannot be installed on {phone.serial}: {_reason(answer, said)}")


def measure(phone: Phone, arguments: Mapping[str, str], timeout: float) -> None:
    """Have the app test and time itself; it leaves its results in its own folder."""
    options = [part for name, value in arguments.items() for part in (f"--{name}", value)]
    where = ("--console", "--terminate-existing", "--device", phone.serial, APP)
    answer, said = _devicectl("device", "process", "launch", *where, "--headless", *options, timeout=timeout)
    told = [line.removeprefix("volo-edge: ") for line in answer.out.splitlines() if line.startswith("volo-edge: ")]
    if told and told[-1] == f"wrote {_RESULTS}":
        return
    if told:
        raise RequestError(f"the app on {phone.serial} failed: {told[-1]}")
    if answer.status != 0:
        missing = "; pass --app with the app that 'volo-edge app ios' wrote, if it is not there"
        raise RequestError(f"the app on {phone.serial} did not end well: {_reason(answer, said)}{missing}")
    raise RequestError(f"the app on {phone.serial} ended without a word: it crashed, or is an older one")


def fetch(phone: Phone) -> str:
    """The results that the app left."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "results.json"
        container = ("--domain-type", "appDataContainer", "--domain-identifier", APP)
        which = ("--source", _RESULTS, "--destination", str(copy))
        answer, said = _devicectl("device", "copy", "from", "--device", phone.serial, *container, *which)
        if answer.status != 0 or not copy.is_file():
            raise RequestError(f"the results cannot be read from {phone.serial}: {_reason(answer, said)}")
        return copy.read_text(encoding="utf-8")


def _devicectl(*arguments: str, timeout: float = 60) -> tuple[Answer, dict[str, Any]]:
    """How it ended, and what it wrote as JSON, which is all of it that is meant for programs."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "answer.json"
        # before the rest: what follows the app's name in a launch is the app's
        command = ("xcrun", "devicectl", *_before_options(arguments, "--json-output", str(written)))
        answer = run(command, REMEDY, timeout)
        try:
            said = json.loads(written.read_bytes())
        except (OSError, ValueError):  # an xcrun without devicectl writes none
            said = {}
    return answer, said if isinstance(said, dict) else {}


def _before_options(arguments: tuple[str, ...], *options: str) -> tuple[str, ...]:
    """The arguments with `options` after the words that name the subcommand."""
    words = next((place for place, word in enumerate(arguments) if word.startswith("--")), len(arguments))
    return (*arguments[:words], *options, *arguments[words:])


def _reason(answer: Answer, said: Mapping[str, Any]) -> str:
    """Why devicectl failed, in its own words."""
    described = said.get("error", {}).get("userInfo", {}).get("NSLocalizedDescription", {})
    text = described.get("string") if isinstance(described, dict) else described
    return str(text) if text else answer.last_line
