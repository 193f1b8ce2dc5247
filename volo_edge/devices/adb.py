"""Android phones, by `adb` of Android's platform tools."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from volo_edge.devices import APP
from volo_edge.devices.tool import Answer, Phone, run
from volo_edge.errors import RequestError

NO_PHONE = "connect one with USB debugging switched on (Settings, Developer options) and try again"
REMEDY = "install Android's platform tools and put them on the PATH"
_INSTRUMENTATION = f"{APP}/.HeadlessInstrumentation"

_PROBLEMS = {  # by the state that `adb devices` tells
    "unauthorized": "it does not trust this computer: unlock it and allow USB debugging",
    "offline": "it does not answer: plug it in again",
    "no permissions": "this user may not use it: see Android's page on udev rules",
}


def phones() -> list[Phone]:
    """The phones that `adb devices -l` lists."""
    answer = _adb(None, "devices", "-l")
    if answer.status != 0:
        raise RequestError(f"adb cannot list phones: {answer.last_line}")
    _, _, listed = answer.out.partition("List of devices attached")  # before it may stand that a daemon was started
    found = []
    for line in filter(None, map(str.strip, listed.splitlines())):
        serial, _, rest = line.partition(" ")
        state = "no permissions" if rest.strip().startswith("no permissions") else rest.split()[0]
        model = re.search(r"\bmodel:(\S+)", rest)
        problem = None if state == "device" else _PROBLEMS.get(state, f"its state is '{state}'")
        found.append(Phone(serial, model[1] if model else "unknown model", problem))
    return found


def package(app: Path) -> Path:
    """What building the app in `app` gives."""
    path = app / "app" / "build" / "outputs" / "apk" / "debug" / "app-debug.apk"
    if not path.is_file():
        raise RequestError(f"{app} is not built (no {path}): build it in Android Studio, or with gradle assembleDebug")
    return path


def install(phone: Phone, path: Path) -> None:
    """Install the app, in the place of an earlier one."""
    answer = _adb(phone, "install", "-r", str(path), timeout=300)
    if answer.status != 0 or "Success" not in answer.out:
        reason = re.search(r"Failure \[(.*?)\]", answer.out + answer.err)
        said = reason[1] if reason else answer.last_line
        remedy = f"; 'adb uninstall {APP}' removes the one that is there" if "UPDATE_INCOMPATIBLE" in said else ""
        raise RequestError(f"{path.name} cannot be installed on {phone.serial}: {said}{remedy}")


def measure(phone: Phone, arguments: Mapping[str, str], timeout: float) -> None:
    """Have the app test and time itself, without a screen; it leaves its results in its own folder."""
    extras = [part for name, value in arguments.items() for part in ("-e", name, value)]
    answer = _adb(phone, "shell", "am", "instrument", "-w", "-r", *extras, _INSTRUMENTATION, timeout=timeout)
    told = _told(answer.out)
    if "Unable to find instrumentation" in answer.out + answer.err:
        raise RequestError(f"{phone.serial} has no {APP}: pass --app with the app that 'volo-edge app android' wrote")
    if "error" in told:
        raise RequestError(f"the app on {phone.serial} failed: {told['error']}")
    if "shortMsg" in told:
        reason = told.get("longMsg", told["shortMsg"])
        raise RequestError(f"the app on {phone.serial} crashed ({reason}): see 'adb logcat -b crash'")
    # adb's exit status is 0 whatever happened, and the code -1 comes of an app that ended well
    if told.get("INSTRUMENTATION_CODE") != "-1" or "results" not in told:
        raise RequestError(f"the app on {phone.serial} did not end well: {answer.last_line}")


def fetch(phone: Phone) -> str:
    """The results that the app left; its folder can be read where it was built for debugging."""
    answer = _adb(phone, "exec-out", "run-as", APP, "cat", "files/results.json")
    if answer.status != 0 or not answer.out.lstrip().startswith("{"):
        raise RequestError(f"the results cannot be read from {phone.serial}: {answer.last_line}")
    return answer.out


def _told(text: str) -> dict[str, str]:
    """What `am instrument -r` tells at the end: its code, and the result's entries, which may take several lines."""
    told: dict[str, str] = {}
    key = None
    for line in text.splitlines():
        if entry := re.match(r"INSTRUMENTATION_RESULT: (\w+)=(.*)", line):
            key = entry[1]
            told[key] = entry[2].strip()
        elif code := re.match(r"(INSTRUMENTATION_CODE): (-?\d+)", line):
            told[code[1]] = code[2]
            key = None
        elif line.startswith("INSTRUMENTATION_"):
            key = None
        elif key is not None and line.strip():
            told[key] += f" {line.strip()}"
    return told


def _adb(phone: Phone | None, *arguments: str, timeout: float = 60) -> Answer:
    which = () if phone is None else ("-s", phone.serial)
    return run(("adb", *which, *arguments), REMEDY, timeout)
