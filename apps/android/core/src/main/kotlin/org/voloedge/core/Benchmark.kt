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
enum class Thermal { NOMINAL, FAIR, SERIOUS, CRITICAL, UNKNOWN }

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

/** What the core asks of the platform while it measures. */
interface Device {
    fun thermal(): Thermal

    /** The most memory that the process has held so far, in bytes; null where the platform does not tell. */
    fun peakMemoryBytes(): Long?
}

/**
 * Load the model, run it `warmup` times and then `runs` times.
 *
 * @param load the engine, from its file.
 * @param progress called with how many of the runs are done.
 * @param use what else to do with the engine before it is closed, before it is timed.
 */
fun <T> benchmark(
    load: () -> Engine,
    input: FloatArray,
    warmup: Int,
    runs: Int,
    device: Device,
    progress: (Int) -> Unit = {},
    use: (Engine) -> T,
): Pair<BenchmarkResult, T> {
    require(warmup >= 0 && runs > 0) { "a benchmark of $runs runs after $warmup" }
    val start = System.nanoTime()
    load().use { engine ->
        val loadMs = milliseconds(start, System.nanoTime())
        val used = use(engine)
        val before = device.thermal()
        repeat(warmup) { engine.run(input) }
        val latencies = List(runs) { run ->
            val from = System.nanoTime()
            engine.run(input)
            milliseconds(from, System.nanoTime()).also { progress(run + 1) }
        }
        return BenchmarkResult(warmup, loadMs, latencies, before, device.thermal(), device.peakMemoryBytes()) to used
    }
}
