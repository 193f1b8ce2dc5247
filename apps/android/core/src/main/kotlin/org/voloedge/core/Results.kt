package org.voloedge.core

import java.time.Instant
import java.time.temporal.ChronoUnit
import org.json.JSONArray
import org.json.JSONObject

/** The app that measured. */
data class AppInfo(val name: String, val version: String)

/** The device it ran on; `chip` is null where the platform does not tell. */
data class DeviceInfo(
    val manufacturer: String,
    val model: String,
    val os: String,
    val osVersion: String,
    val chip: String?,
)

/** All that one device measured of one artifact: the results file, which `volo-edge benchmark` reads. */
data class Results(
    val app: AppInfo,
    val device: DeviceInfo,
    val manifest: Manifest,
    val engine: EngineInfo,
    val selfTest: SelfTestResult?,
    val benchmark: BenchmarkResult?,
    val madeAt: Instant = Instant.now(),
) {
    /** The results file's text. */
    fun toJson(): String = json(
        "format_version" to 1,
        "made_at" to madeAt.truncatedTo(ChronoUnit.SECONDS).toString(),
        "app" to json("name" to app.name, "version" to app.version, "platform" to "android"),
        "device" to json(
            "manufacturer" to device.manufacturer,
            "model" to device.model,
            "os" to device.os,
            "os_version" to device.osVersion,
            "chip" to device.chip,
        ),
        "artifact" to json(
            "model" to manifest.model,
            "target" to manifest.target,
            "backend" to manifest.backend,
            "scheme" to manifest.scheme,
            "model_sha256" to manifest.file("model").sha256,
        ),
        "engine" to json(
            "name" to engine.name,
            "version" to engine.version,
            "compute" to engine.compute,
            "threads" to engine.threads,
        ),
        "selftest" to selfTest?.let(::selfTestJson),
        "benchmark" to benchmark?.let(::benchmarkJson),
    ).toString(2)
}

private fun selfTestJson(result: SelfTestResult) = json(
    "passed" to result.passed,
    "tolerance" to result.tolerance,
    "cases" to JSONArray(
        result.cases.map {
            json(
                "name" to it.name,
                "tensor_max_difference" to it.tensorMaxDifference,
                "logits_relative_error" to it.logitsRelativeError,
                "expected" to it.expected,
                "predicted" to it.predicted,
                "passed" to it.passed,
            )
        },
    ),
)

private fun benchmarkJson(result: BenchmarkResult) = json(
    "warmup" to result.warmup,
    "runs" to result.latencies.size,
    "load_ms" to result.loadMs,
    "min_ms" to result.latency.min,
    "mean_ms" to result.latency.mean,
    "median_ms" to result.latency.median,
    "p90_ms" to result.latency.p90,
    "p99_ms" to result.latency.p99,
    "latencies_ms" to JSONArray(result.latencies),
    "thermal_before" to result.thermalBefore.name.lowercase(),
    "thermal_after" to result.thermalAfter.name.lowercase(),
    "peak_memory_bytes" to result.peakMemoryBytes,
)

/** An object of these members, null included. */
private fun json(vararg members: Pair<String, Any?>): JSONObject =
    JSONObject().apply { for ((key, value) in members) put(key, value ?: JSONObject.NULL) }
