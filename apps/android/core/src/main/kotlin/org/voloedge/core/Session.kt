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

/** An artifact at work on this device: the engine in memory, and what was measured with it. One thread at a time. */
class Session(val artifact: Artifact, private val platform: Platform) : AutoCloseable {
    private var engine: Engine? = null

    /** Another number starts anew: what was measured was another engine's. */
    var threads: Int? = null
        set(value) {
            if (value == field) return
            close()
            field = value
            selfTest = null
            benchmark = null
        }

    var selfTest: SelfTestResult? = null
        private set

    var benchmark: BenchmarkResult? = null
        private set

    fun classify(image: Pixels): Classification = classify(image, artifact, loaded())

    fun runSelfTest(): SelfTestResult =
        selfTest(artifact, loaded(), platform::decode).also { selfTest = it }

    /** Loads the model anew, to time that too. */
    fun runBenchmark(warmup: Int, runs: Int, progress: (Int) -> Unit = {}): BenchmarkResult {
        val known = artifact.manifest.cases.firstOrNull()
            ?: throw ArtifactException("the artifact has no photograph to run: convert the model again")
        val input = artifact.floats(known.tensor)
        close()
        val (loaded, loadMs) = timed { loaded() }
        return benchmark(loaded, loadMs, input, warmup, runs, platform, progress).also { benchmark = it }
    }

    /** What was measured so far. */
    fun results(): Results =
        Results(platform.app, platform.device, artifact.manifest, loaded().info, selfTest, benchmark)

    override fun close() {
        engine?.close()
        engine = null
    }

    private fun loaded(): Engine = engine ?: platform.load(artifact, threads).also { engine = it }
}
