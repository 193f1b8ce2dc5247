"""`volo-edge benchmark` with stand-ins for `adb` and `xcrun` that answer in the real tools' formats.

The formats are those of AOSP's adb and of devicectl's JSON as Flutter's tool reads it; no phone is in these tests.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.command import Ended, one_line, run
from volo_edge import artifact
from volo_edge.apps import goldens

ARTIFACT = goldens.FOLDERS[0] / "artifact"
MODEL = artifact.read(ARTIFACT).manifest.files["model"].sha256

# A tool that looks its arguments up in answers.json and writes them to calls.json.
STAND_IN = """#!{python}
import json, pathlib, sys
place = pathlib.Path(__file__).parent
arguments = sys.argv[1:]
with (place / "calls.json").open("a") as file:
    print(json.dumps([pathlib.Path(sys.argv[0]).name, *arguments]), file=file)
for words, answer in json.loads((place / "answers.json").read_text()):
    if all(word in arguments for word in words):
        break
else:
    sys.exit(f"no answer to {{arguments}}")
for option, text in answer.get("writes", {{}}).items():
    if option in arguments:
        pathlib.Path(arguments[arguments.index(option) + 1]).write_text(text)
sys.stdout.write(answer.get("out", ""))
sys.stderr.write(answer.get("err", ""))
sys.exit(answer.get("status", 0))
"""

Answers = list[tuple[list[str], dict[str, Any]]]

DEVICES = """* daemon not running; starting now at tcp:5037
* daemon started successfully
List of devices attached
{}
"""
PIXEL = "39041FDJH00ABC         device usb:1-1 product:tokay model:Pixel_9 device:tokay transport_id:4"
GALAXY = "R5CT30ABCDE            device usb:1-2 product:dm1q model:SM_S911B device:dm1q transport_id:5"
UNAUTHORIZED = "39041FDJH00ABC         unauthorized usb:1-1 transport_id:4"
NO_PERMISSIONS = (
    "39041FDJH00ABC         no permissions (missing udev rules? user is in the plugdev group); "
    "see [http://developer.android.com/tools/device.html] usb:1-1 transport_id:4"
)
ENDED_WELL = """INSTRUMENTATION_RESULT: results=files/results.json
INSTRUMENTATION_CODE: -1
"""


def results(passed: bool = True, **changes: Any) -> dict[str, Any]:
    """What an app measured."""
    case = {"name": "selftest/0.png", "tensor_max_difference": 0, "logits_relative_error": 1e-6}
    return {
        "format_version": 1,
        "made_at": "2026-11-22T12:00:00Z",
        "app": {"name": "VoloEdge", "version": "0.1.0", "platform": "android"},
        "device": {"manufacturer": "Google", "model": "Pixel 9", "os": "Android", "os_version": "16", "chip": None},
        "artifact": {
            "model": "volo_small",
            "target": "executorch",
            "backend": "xnnpack",
            "scheme": "fp32",
            "model_sha256": MODEL,
        },
        "engine": {"name": "ExecuTorch", "version": "1.5.1", "compute": "xnnpack", "threads": None},
        "selftest": {
            "passed": passed,
            "tolerance": 1e-3,
            "cases": [{**case, "expected": 1, "predicted": 1, "passed": passed}],
        },
        "benchmark": {
            "warmup": 1,
            "runs": 3,
            "load_ms": 20.5,
            "min_ms": 4.0,
            "mean_ms": 5.0,
            "median_ms": 5.0,
            "p90_ms": 5.8,
            "p99_ms": 5.98,
            "latencies_ms": [4.0, 5.0, 6.0],
            "thermal_before": "nominal",
            "thermal_after": "fair",
            "peak_memory_bytes": None,
        },
        **changes,
    }


class Desk:
    """A machine whose tools are stand-ins."""

    def __init__(self, folder: Path, tool: str | None) -> None:
        self.tools = folder / "tools"
        self.tools.mkdir()
        self.work = folder / "work"
        self.work.mkdir()
        if tool is not None:
            path = self.tools / tool
            path.write_text(STAND_IN.format(python=sys.executable))
            path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def benchmark(self, device: str, answers: Answers, *arguments: str | Path) -> Ended:
        (self.tools / "answers.json").write_text(json.dumps(answers))
        environment = {**os.environ, "PATH": str(self.tools)}
        return run("benchmark", ARTIFACT, "--device", device, *arguments, cwd=self.work, env=environment)

    def refusal(self, device: str, answers: Answers, *arguments: str | Path) -> str:
        """What is said of a measurement that cannot be made, which must leave nothing."""
        said = one_line(self.benchmark(device, answers, *arguments))
        assert list(self.work.iterdir()) == []
        return said

    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.tools / "calls.json").read_text().splitlines()]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, "adb")


@pytest.fixture
def mac(tmp_path: Path) -> Desk:
    return Desk(tmp_path, "xcrun")


def android(
    devices: str = PIXEL,
    instrument: str = ENDED_WELL,
    fetched: str | None = None,
    install: dict[str, Any] | None = None,
) -> Answers:
    """The answers of adb."""
    return [
        (["devices", "-l"], {"out": DEVICES.format(devices)}),
        (["install"], install or {"out": "Performing Streamed Install\nSuccess\n"}),
        (["instrument"], {"out": instrument}),
        (["exec-out"], {"out": json.dumps(results()) if fetched is None else fetched}),
    ]


def test_an_android_phone_is_measured(desk: Desk) -> None:
    apk = desk.work.parent / "app" / "app" / "build" / "outputs" / "apk" / "debug" / "app-debug.apk"
    apk.parent.mkdir(parents=True)
    apk.write_text("apk")
    options = ("--runs", "3", "--warmup", "1", "--threads", "2")
    ended = desk.benchmark("android", android(), "--app", desk.work.parent / "app", *options)
    assert ended.status == 0, ended.err
    assert json.loads((desk.work / "artifact-android.json").read_text()) == results()
    assert "passed" in ended.out and "median 5.00 ms" in ended.out and "Pixel 9" in ended.out
    phone = ["adb", "-s", "39041FDJH00ABC"]
    instrument = ["am", "instrument", "-w", "-r", "-e", "warmup", "1", "-e", "runs", "3", "-e", "threads", "2"]
    assert desk.calls() == [
        ["adb", "devices", "-l"],
        [*phone, "install", "-r", str(apk)],
        [*phone, "shell", *instrument, "org.voloedge.app/.HeadlessInstrumentation"],
        [*phone, "exec-out", "run-as", "org.voloedge.app", "cat", "files/results.json"],
    ]


def test_json_is_the_results(desk: Desk) -> None:
    ended = desk.benchmark("android", android(), "--json", "--output", "numbers.json")
    assert json.loads(ended.out) == {"output": "numbers.json", "results": results()}


def test_a_results_file_is_replaced_only_by_force(desk: Desk) -> None:
    output = desk.work / "artifact-android.json"
    output.write_text("mine")
    assert "is no file of device results" in one_line(desk.benchmark("android", android(), "--force"))
    assert output.read_text() == "mine"
    output.unlink()
    assert desk.benchmark("android", android()).status == 0
    assert "exists already: pass --force" in one_line(desk.benchmark("android", android()))
    assert desk.benchmark("android", android(), "--force").status == 0


def test_a_selftest_that_failed_is_written_down_and_is_exit_status_3(desk: Desk) -> None:
    ended = desk.benchmark("android", android(fetched=json.dumps(results(passed=False))))
    assert ended.status == 3 and "FAILED" in ended.out and "the self-test failed on the phone" in ended.err
    assert (desk.work / "artifact-android.json").exists()


def test_without_a_tool_one_line_says_what_is_missing(tmp_path: Path) -> None:
    nothing = Desk(tmp_path, None)
    assert "there is no 'adb' here: install Android's platform tools" in nothing.refusal("android", [])
    assert "there is no 'xcrun' here: it comes with Xcode" in nothing.refusal("ios", [])


@pytest.mark.parametrize(
    ("devices", "arguments", "said"),
    [
        ("", (), "no phone is connected: connect one with USB debugging"),
        (UNAUTHORIZED, (), "39041FDJH00ABC cannot be used: it does not trust this computer"),
        (NO_PERMISSIONS, (), "this user may not use it"),
        ("emulator-5554          offline transport_id:1", (), "it does not answer"),
        ("39041FDJH00ABC         recovery usb:1-1 transport_id:1", (), "its state is 'recovery'"),
        (f"{PIXEL}\n{GALAXY}", (), "several phones are connected: pass --serial with one of 39041FDJH00ABC (Pixel_9)"),
        (PIXEL, ("--serial", "X"), "no phone has the serial 'X' (connected: 39041FDJH00ABC (Pixel_9))"),
    ],
)
def test_a_phone_that_cannot_be_used_is_named(desk: Desk, devices: str, arguments: tuple[str, ...], said: str) -> None:
    assert said in desk.refusal("android", android(devices), *arguments)


@pytest.mark.parametrize("devices", [f"{UNAUTHORIZED}\n{GALAXY}", f"{PIXEL}\n{GALAXY}"])
def test_the_phone_that_is_meant_is_used(desk: Desk, devices: str) -> None:
    serial = () if devices.startswith(UNAUTHORIZED) else ("--serial", "R5CT30ABCDE")
    assert desk.benchmark("android", android(devices), *serial).status == 0
    assert desk.calls()[-1][:3] == ["adb", "-s", "R5CT30ABCDE"]


CRASHED = """INSTRUMENTATION_RESULT: shortMsg=Process crashed.
INSTRUMENTATION_CODE: 0
"""
CRASHED_IN_JAVA = """INSTRUMENTATION_RESULT: longMsg=java.lang.UnsatisfiedLinkError: dlopen failed:
library "libexecutorch.so" not found
INSTRUMENTATION_RESULT: shortMsg=java.lang.UnsatisfiedLinkError
INSTRUMENTATION_CODE: 0
"""
NOT_THERE = """INSTRUMENTATION_STATUS: id=ActivityManagerService
INSTRUMENTATION_STATUS: Error=Unable to find instrumentation info for: ComponentInfo{org.voloedge.app/H}
INSTRUMENTATION_STATUS_CODE: -1
android.util.AndroidException: INSTRUMENTATION_FAILED: org.voloedge.app/.HeadlessInstrumentation
"""
WENT_WRONG = """INSTRUMENTATION_RESULT: error=model.pte is not the file the manifest names: build the app again
INSTRUMENTATION_CODE: 0
"""


@pytest.mark.parametrize(
    ("instrument", "said"),
    [
        (CRASHED, "the app on 39041FDJH00ABC crashed (Process crashed.): see 'adb logcat -b crash'"),
        (CRASHED_IN_JAVA, 'dlopen failed: library "libexecutorch.so" not found'),
        (NOT_THERE, "39041FDJH00ABC has no org.voloedge.app: pass --app"),
        (WENT_WRONG, "the app on 39041FDJH00ABC failed: model.pte is not the file the manifest names"),
        ("INSTRUMENTATION_CODE: -1\n", "did not end well"),
        ("", "did not end well"),
    ],
)
def test_an_app_that_fails_on_the_phone_says_why(desk: Desk, instrument: str, said: str) -> None:
    assert said in desk.refusal("android", android(instrument=instrument))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            {
                "out": "Performing Streamed Install\n",
                "err": "adb: failed to install app-debug.apk: Failure [INSTALL_FAILED_UPDATE_INCOMPATIBLE: Existing "
                "package org.voloedge.app signatures do not match newer version; ignoring!]\n",
                "status": 1,
            },
            "signatures do not match newer version; ignoring!; 'adb uninstall org.voloedge.app' removes",
        ),
        (
            {"out": "Failure [INSTALL_FAILED_INSUFFICIENT_STORAGE]\n", "status": 1},
            "INSTALL_FAILED_INSUFFICIENT_STORAGE",
        ),
        ({"err": "adb: device '39041FDJH00ABC' not found\n", "status": 1}, "not found"),
    ],
)
def test_an_app_that_cannot_be_installed_says_why(desk: Desk, answer: dict[str, Any], said: str) -> None:
    apk = desk.work.parent / "app" / "app" / "build" / "outputs" / "apk" / "debug" / "app-debug.apk"
    apk.parent.mkdir(parents=True)
    apk.write_text("apk")
    assert said in desk.refusal("android", android(install=answer), "--app", desk.work.parent / "app")


def test_an_app_that_is_not_built_is_told(desk: Desk) -> None:
    assert "is not built (no " in desk.refusal("android", android(), "--app", desk.tools)


@pytest.mark.parametrize(
    ("fetched", "said"),
    [
        ("run-as: package not debuggable: org.voloedge.app\n", "package not debuggable"),
        ("{", "results.json of Pixel_9 is damaged"),
        (json.dumps(results(format_version=2)), "of format 2"),
        (json.dumps(results(artifact={**results()["artifact"], "model_sha256": "0" * 64})), "has another model in it"),
        (json.dumps(results(benchmark=None)), "measured only half"),
    ],
)
def test_results_that_are_not_this_artifacts_are_refused(desk: Desk, fetched: str, said: str) -> None:
    assert said in desk.refusal("android", android(fetched=fetched))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--runs", "0"), "--runs 0: take at least 1"),
        (("--threads", "0"), "--threads 0: take at least 1"),
        (("--compute", "all"), "--compute is for ios"),
        (("--output", "."), "is a folder: pass another --output"),
    ],
)
def test_a_bad_request_is_refused_before_any_tool_is_asked(desk: Desk, arguments: tuple[str, ...], said: str) -> None:
    assert said in desk.refusal("android", [], *arguments)
    assert not (desk.tools / "calls.json").exists()


# --- iOS


def phone(**connection: str) -> dict[str, Any]:
    """A device as devicectl lists it."""
    return {
        "identifier": "8D6E5C1A-0000-4B1C-9F00-00805F9B34FB",
        "hardwareProperties": {
            "udid": "00008140-000A1234ABCD001C",
            "productType": "iPhone17,1",
            "marketingName": "iPhone 16 Pro",
            "platform": "iOS",
        },
        "deviceProperties": {"name": "Ada's iPhone", "osVersionNumber": "19.0"},
        "connectionProperties": {"pairingState": "paired", "tunnelState": "disconnected", **connection},
    }


def said_by_devicectl(**values: Any) -> dict[str, Any]:
    """An answer of devicectl's: what people see is not for programs."""
    outcome = "failed" if "error" in values else "success"
    return {
        "out": "a table for people\n",
        "status": 1 if "error" in values else 0,
        "writes": {"--json-output": json.dumps({"info": {"outcome": outcome}, **values})},
    }


def failed(domain: str, code: int, text: str) -> dict[str, Any]:
    description = {"NSLocalizedDescription": {"string": text}}
    return said_by_devicectl(error={"domain": domain, "code": code, "userInfo": description})


LAUNCHED = {"out": "Launched application\nvolo-edge: wrote Documents/results.json\n"}


def ios(
    devices: list[dict[str, Any]] | None = None,
    launch: dict[str, Any] = LAUNCHED,
    copy: dict[str, Any] | None = None,
    install: dict[str, Any] | None = None,
) -> Answers:
    """The answers of xcrun."""
    copied = {"writes": {"--destination": json.dumps(results()), "--json-output": "{}"}}
    listed = said_by_devicectl(result={"devices": [phone()] if devices is None else devices})
    return [
        (["devicectl", "list", "devices"], listed),
        (["devicectl", "device", "install", "app"], install or said_by_devicectl(result={})),
        (["devicectl", "device", "process", "launch"], launch),
        (["devicectl", "device", "copy", "from"], copy or copied),
    ]


def test_an_iphone_is_measured(mac: Desk) -> None:
    app = mac.work.parent / "app" / "build" / "Build" / "Products" / "Release-iphoneos" / "VoloEdge.app"
    app.mkdir(parents=True)
    options = ("--runs", "3", "--compute", "cpu_only", "--app", mac.work.parent / "app")
    ended = mac.benchmark("ios", ios(), *options)
    assert ended.status == 0, ended.err
    assert json.loads((mac.work / "artifact-ios.json").read_text()) == results()
    listed, installed, launched, copied = mac.calls()
    assert listed[:4] == ["xcrun", "devicectl", "list", "devices"]
    identifier = phone()["identifier"]
    assert installed[-3:] == ["--device", identifier, str(app)]
    assert launched[2:5] == ["device", "process", "launch"]
    assert launched[-8:] == ["org.voloedge.app", "--headless", "--warmup", "10", "--runs", "3", "--compute", "cpu_only"]
    assert "--json-output" in launched[: launched.index("org.voloedge.app")]  # what follows is the app's
    assert copied[copied.index("--source") + 1] == "Documents/results.json"


@pytest.mark.parametrize(
    ("devices", "said"),
    [
        ([], "no phone is connected: connect one by cable"),
        ([phone(pairingState="unpaired")], "it is not paired with this Mac"),
        ([phone(tunnelState="unavailable")], "it is not connected: connect it by cable"),
        ([phone(), {**phone(), "identifier": "other"}], "several phones are connected: pass --serial"),
        ([{**phone(), "hardwareProperties": {"platform": "watchOS"}}], "no phone is connected"),
    ],
)
def test_an_iphone_that_cannot_be_used_is_named(mac: Desk, devices: list[dict[str, Any]], said: str) -> None:
    assert said in mac.refusal("ios", ios(devices))


@pytest.mark.parametrize(
    ("launch", "said"),
    [
        ({"out": "volo-edge: the model needs iOS 18, and this is iOS 17\n", "status": 1}, "the model needs iOS 18"),
        (
            failed("FBSOpenApplicationErrorDomain", 7, "The app is not installed."),
            "The app is not installed.; pass --app",
        ),
        ({"out": "Launched application\n"}, "ended without a word"),
    ],
)
def test_an_app_that_fails_on_an_iphone_says_why(mac: Desk, launch: dict[str, Any], said: str) -> None:
    assert said in mac.refusal("ios", ios(launch=launch))


def test_what_devicectl_refuses_is_said_in_its_words(mac: Desk) -> None:
    (mac.work.parent / "app" / "build" / "Build" / "Products" / "Debug-iphoneos" / "VoloEdge.app").mkdir(parents=True)
    refused = failed("com.apple.dt.CoreDeviceError", 3002, "Failed to install the app on the device.")
    said = mac.refusal("ios", ios(install=refused), "--app", mac.work.parent / "app")
    assert "VoloEdge.app cannot be installed" in said and "Failed to install the app on the device." in said
    missing = failed("com.apple.dt.CoreDeviceError", 7000, "The file was not found.")
    assert "The file was not found." in mac.refusal("ios", ios(copy=missing))
    no_devicectl = {"err": 'xcrun: error: unable to find utility "devicectl", not a developer tool\n', "status": 72}
    assert "unable to find utility" in mac.refusal("ios", [(["devicectl"], no_devicectl)])


def test_an_ios_app_that_is_not_built_is_told(mac: Desk) -> None:
    assert "xcodebuild -scheme VoloEdge" in mac.refusal("ios", ios(), "--app", mac.tools)
