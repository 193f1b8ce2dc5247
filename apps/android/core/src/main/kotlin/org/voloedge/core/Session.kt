package org.voloedge.core

import java.io.File

/** What the core asks of the platform. */
interface Platform {
    val app: AppInfo
    val device: DeviceInfo

    /** The artifact's file, ready to run, with so many threads; with the runtime's own choice where null. */
    fun load(artifact: Artifact, threads: Int?): Engine

    /** The upright pixels of an image file. */
    fun decode(file: File): Pixels

    fun thermal(): Thermal

    /** The most memory that the process has held so far, in bytes; null where the platform does not tell. */
    fun peakMemoryBytes(): Long?
}

/**
 * An artifact at work on this device: the engine in memory, and what was measured with it.
 *
 * Whoever calls while another call is going on waits for its end: nobody loads a model that is being loaded, and a
 * choice comes before a call or after it, never into it.
 */
class Session(val artifact: Artifact, private val platform: Platform) : AutoCloseable {
    private var engine: Engine? = null
    private var threads: Int? = null
    private var selfTest: SelfTestResult? = null
    private var benchmark: BenchmarkResult? = null

    /** Another number of threads starts anew: what was measured was another engine's. */
    @Synchronized
    fun choose(threads: Int?) {
        if (threads == this.threads) return
        close()
        this.threads = threads
        selfTest = null
        benchmark = null
    }

    @Synchronized
    fun classify(image: Pixels): Classification = classify(image, artifact, loaded())

    @Synchronized
    fun runSelfTest(): SelfTestResult =
        selfTest(artifact, loaded(), platform::decode).also { selfTest = it }

    /** Loads the model anew, to time that too. */
    @Synchronized
    fun runBenchmark(warmup: Int, runs: Int, progress: (Int) -> Unit = {}): BenchmarkResult {
        val known = artifact.manifest.cases.firstOrNull()
            ?: throw ArtifactException("the artifact has no photograph to run: convert the model again")
        val input = artifact.floats(known.tensor)
        close()
        val (loaded, loadMs) = timed { loaded() }
        return benchmark(loaded, loadMs, input, warmup, runs, platform, progress).also { benchmark = it }
    }

    /** What was measured so far. */
    @Synchronized
    fun results(): Results =
        Results(platform.app, platform.device, artifact.manifest, loaded().info, selfTest, benchmark)

    @Synchronized
    override fun close() {
        engine?.close()
        engine = null
    }

    private fun loaded(): Engine = engine ?: platform.load(artifact, threads).also { engine = it }
}
