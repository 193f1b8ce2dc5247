package org.voloedge.core

/** Times of one run each, in milliseconds: a percentile between two of them is interpolated, as NumPy does it. */
data class Latency(val min: Double, val mean: Double, val median: Double, val p90: Double, val p99: Double) {
    companion object {
        fun of(latencies: List<Double>): Latency {
            val sorted = latencies.sorted()
            return Latency(
                min = sorted.first(),
                mean = sorted.average(),
                median = percentile(sorted, 0.5),
                p90 = percentile(sorted, 0.9),
                p99 = percentile(sorted, 0.99),
            )
        }

        private fun percentile(sorted: List<Double>, share: Double): Double {
            val place = share * (sorted.size - 1)
            val below = place.toInt()
            val above = minOf(below + 1, sorted.size - 1)
            return sorted[below] + (sorted[above] - sorted[below]) * (place - below)
        }
    }
}

/** How warm the device is, in the words that both platforms' states are told in. */
enum class Thermal {
    NOMINAL, FAIR, SERIOUS, CRITICAL, UNKNOWN;

    companion object {
        /** Of the `THERMAL_STATUS_...` that Android's PowerManager tells. */
        fun of(status: Int): Thermal = when (status) {
            0 -> NOMINAL // none
            1, 2 -> FAIR // light, moderate
            3 -> SERIOUS // severe
            4, 5, 6 -> CRITICAL // critical, emergency, shutdown
            else -> UNKNOWN
        }
    }
}

/**
 * What a benchmark measured.
 *
 * @property loadMs from the file to a model ready to run.
 * @property latencies of each run, in milliseconds, without the warm-up.
 * @property peakMemoryBytes of the process; null where the platform does not tell.
 */
data class BenchmarkResult(
    val warmup: Int,
    val loadMs: Double,
    val latencies: List<Double>,
    val thermalBefore: Thermal,
    val thermalAfter: Thermal,
    val peakMemoryBytes: Long?,
) {
    val latency: Latency = Latency.of(latencies)
}

/**
 * Run a loaded model `warmup` times and then `runs` times.
 *
 * @param progress called with how many of the runs are done, at most ten times in all: what it does is not to slow down
 * the others.
 */
fun benchmark(
    engine: Engine,
    loadMs: Double,
    input: FloatArray,
    warmup: Int,
    runs: Int,
    platform: Platform,
    progress: (Int) -> Unit,
): BenchmarkResult {
    require(warmup >= 0 && runs > 0) { "a benchmark of $runs runs after $warmup" }
    val before = platform.thermal()
    repeat(warmup) { engine.run(input) }
    val latencies = (1..runs).map { run ->
        engine.run(input).milliseconds.also { if (10 * run / runs > 10 * (run - 1) / runs) progress(run) }
    }
    return BenchmarkResult(warmup, loadMs, latencies, before, platform.thermal(), platform.peakMemoryBytes())
}

/** What `work` gives, and the milliseconds it took. */
inline fun <T> timed(work: () -> T): Pair<T, Double> {
    val start = System.nanoTime()
    val result = work()
    return result to (System.nanoTime() - start) / 1e6
}

/** The most memory that a process has held, in bytes, of its /proc/self/status; null where that does not tell. */
fun peakMemoryBytes(status: String): Long? =
    Regex("""^VmHWM:\s*(\d+) kB$""", RegexOption.MULTILINE).find(status)?.let { it.groupValues[1].toLong() * 1024 }
